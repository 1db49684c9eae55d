package ca

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// Limits for one name, for each pair that it uses.
const (
	maxLive   = 4 // valid certificates at a time
	maxPerDay = 6 // signatures within a day
	maxPairs  = 3 // host, host-ecdsa, client
)

// Decision is how the CA answers a request.
type Decision struct {
	Repeat  *x509.Certificate // a valid certificate with this key and these names, to be given again
	Revoke  []*big.Int        // to be revoked as superseded
	Request Request           // to be signed, when Repeat is nil
}

// Decide decides about a request from the certificates that were issued for its name. signed are the times of recent
// signatures for it. It is a pure function. Its error is an ErrRefused that says what to do instead.
func Decide(issued []Issued, signed []time.Time, ask Ask, now time.Time) (Decision, error) {
	refuse := func(format string, args ...any) (Decision, error) {
		return Decision{}, fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
	}
	name, names := ask.Names()
	if name == "" {
		return refuse("the request contains no host name")
	}
	if !ask.ByHand {
		for _, n := range names {
			if n != name && !slices.Contains(pki.CanonicalNames(ask.Allowed), n) {
				return refuse("%s may not have a certificate for %q, only for %s", name, n,
					strings.Join(append([]string{name}, ask.Allowed...), ", "))
			}
		}
		if ask.CommonName != "" && ask.CommonName != name {
			return refuse("%s may not have a certificate for %q", name, ask.CommonName)
		}
	}
	var live, others []Issued
	for _, is := range issued {
		if is.Row != nil && is.Row.Status != Valid || now.After(is.Cert.NotAfter) ||
			!slices.Contains(pki.CertNames(is.Cert), name) {
			continue
		}
		live = append(live, is)
		if !pki.SamePublicKey(is.Cert.PublicKey, ask.Public) {
			others = append(others, is)
		}
	}
	also := func(is Issued) bool {
		return slices.ContainsFunc(ask.Also, func(n *big.Int) bool { return n.Cmp(is.Serial) == 0 })
	}
	held := func(is Issued) bool { return ask.Holds != nil && is.Serial.Cmp(ask.Holds) == 0 }
	newest := (*Issued)(nil)
	for i := range live { // newest first; nobody can use one that is not valid yet
		if pki.SamePublicKey(live[i].Cert.PublicKey, ask.Public) && sameNames(live[i].Cert, names) &&
			!live[i].Cert.NotBefore.After(now.Add(backdate)) &&
			!live[i].NoCA && (held(live[i]) || live[i].line() > ask.HoldsRow) {
			newest = &live[i]
			break
		}
	}
	d := Decision{Request: Request{Public: ask.Public, Name: name, AltNames: names[1:], Days: ask.Days,
		Backdate: backdate}}
	if ask.Replace {
		for _, is := range others {
			d.Revoke = append(d.Revoke, is.Serial)
		}
	}
	if newest != nil && !lastThird(newest.Cert, now) && !held(*newest) {
		d.Repeat = newest.Cert
		return d, nil
	}
	if newest == nil && !ask.Replace {
		for _, is := range others {
			switch {
			case ask.Beside, lastThird(is.Cert, now), held(is), also(is):
			case slices.ContainsFunc(others, func(o Issued) bool { return held(o) && is.before(o) }),
				is.line() < ask.HoldsRow:
				// the host has a newer certificate than this one
			default:
				return refuse("%s has a valid certificate with another key, serial %s until %s: revoke that one "+
					"first (`mailcertd revoke %s --reason superseded`), or use --replace, which does so, or "+
					"--beside for another pair of that host",
					name, FormatSerial(is.Serial), is.Cert.NotAfter.UTC().Format("2006-01-02"), FormatSerial(is.Serial))
			}
		}
	}
	pairs := 1
	for _, is := range live {
		if also(is) && !pki.SamePublicKey(is.Cert.PublicKey, ask.Public) {
			pairs = min(pairs+1, maxPairs)
		}
	}
	if n, most := len(live)-len(d.Revoke), maxLive*pairs; n >= most && !ask.ByHand {
		return refuse(
			"%s already has %d valid certificates, at most %d are allowed: revoke some (`mailcertd list`, "+
				"`mailcertd revoke SERIAL`)", name, n, most)
	}
	if n, most := len(recent(signed, now))+ask.Signed, maxPerDay*pairs; n >= most && !ask.ByHand {
		return refuse("%s got %d certificates within a day, at most %d are allowed: it may ask again tomorrow",
			name, n, most)
	}
	return d, nil
}

func sameNames(c *x509.Certificate, names []string) bool {
	have := pki.CertNames(c)
	if len(have) != len(names) {
		return false
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			return false
		}
	}
	return true
}

// lastThird says whether at most a third of the certificate's life is left.
func lastThird(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) <= c.NotAfter.Sub(c.NotBefore)/3
}

func recent(signed []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(signed), func(t time.Time) bool {
		return now.Sub(t) >= 24*time.Hour || t.After(now)
	})
}
