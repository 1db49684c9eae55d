package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// Ask is a request by somebody else, and the conditions under which it may be signed.
type Ask struct {
	pki.Request
	// Name is the host that asks. Where it is "", it is the request's CN, else its first DNS name. The certificate is
	// for Name and the other names of the request.
	Name string
	// Allowed are the further names that the host may have. With ByHand any name is allowed.
	Allowed []string
	ByHand  bool // a person has checked the request
	Days    int
	// Holds is the serial of the certificate that the host has and wants replaced; nil: it may be given the same
	// certificate again.
	Holds *big.Int
	// HoldsRow is the line of Holds in index.txt, also of a revoked one; 0: it has no row. Preview sets it.
	// Certificates with an earlier line are not given again, since the host has had them already.
	HoldsRow int
	// Also are the serials of the certificates that the host goes on using beside this one, for its other pairs. Each
	// valid one raises the limits by those of one pair, up to maxPairs pairs.
	Also []*big.Int
	// Signed is how many certificates were signed for this name that are not in Member.Signed yet.
	Signed int
	// Replace also revokes the valid certificates of the name that have other keys, as superseded.
	Replace bool
	// Beside says that the asker goes on using all of them, as Also does for single ones.
	Beside bool
}

// Limits for one name, for each pair that it uses.
const (
	maxLive   = 4 // valid certificates at a time
	maxPerDay = 6 // signatures within a day
	maxPairs  = 3 // host, host-ecdsa, client
)

// ErrRefused says that a request is not signed; the text says why. Test with errors.Is.
var ErrRefused = errors.New("refused")

// Refusal is the text of an ErrRefused without the word "refused", for a message that says so itself.
func Refusal(text string) string {
	word := ErrRefused.Error() + ": "
	for strings.HasPrefix(text, word) {
		text = text[len(word):]
	}
	return text
}

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

// Names returns the host's own name, and all canonical names that are asked for, without repetition and with its own
// name first. It returns "" and nil where the request has no name.
func (a Ask) Names() (string, []string) {
	all := slices.Clone(a.DNSNames)
	for _, ip := range a.IPs {
		all = append(all, ip.String())
	}
	name := a.Name
	if name == "" {
		name = a.CommonName
	}
	if name == "" && len(a.DNSNames) > 0 {
		name = a.DNSNames[0]
	}
	out := pki.CanonicalNames(append([]string{name}, all...))
	if len(out) == 0 {
		return "", nil
	}
	return out[0], out
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

// Preview returns what Sign would do.
func (s *Session) Preview(ask Ask, now time.Time) (Decision, error) {
	return Preview(s.obs, s.o, ask, now)
}

// Preview returns what Sign would do with the CA as it was observed. It needs no key.
func Preview(obs Observed, o Options, ask Ask, now time.Time) (Decision, error) {
	if obs.db == nil || obs.Current.Cert == nil {
		return Decision{}, fmt.Errorf("%s: %w (%s)", o.Dir, ErrDamaged, obs.Status)
	}
	if obs.Err != nil {
		return Decision{}, obs.Err
	}
	if obs.membersErr != nil { // a name may belong to a member
		return Decision{}, obs.membersErr
	}
	name, names := ask.Names()
	rows, err := obs.db.rowsOf(names...)
	if err != nil {
		return Decision{}, err
	}
	var signed []time.Time
	if m := Find(obs.Members, name); m != nil {
		signed = m.Signed
	}
	if ask.Holds != nil {
		serial := FormatSerial(ask.Holds)
		found, err := obs.db.lookUp(serial)
		if err != nil {
			return Decision{}, err
		}
		ask.HoldsRow = found[serial].Line
	}
	issued, unread := obs.db.issued(o.Dir, name, rows)
	if unread != nil { // the certificate that could not be read may change the decision
		return Decision{}, unread
	}
	cas := Bundle(obs, now)
	for i := range issued {
		issued[i].NoCA = !slices.ContainsFunc(cas, func(c *x509.Certificate) bool {
			return pki.IssuedBy(issued[i].Cert, c)
		})
	}
	d, err := Decide(issued, signed, ask, now)
	d.Request.Backdate = o.backdate()
	if err != nil || d.Repeat != nil {
		return d, err
	}
	if err := taken(obs.Members, o.Host, d.Request, rows, issued, now); err != nil {
		return d, err
	}
	t, err := leafTemplate(o, d.Request, obs.Current.Cert, now)
	if err == nil {
		err = permitted(t, obs.Current.Cert)
	}
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return d, nil
}

// taken refuses further names that belong to another host: the name of this host or of another member, or the CN of
// another valid certificate. A name that the asking host has in a valid certificate it may have again. The further
// names of other hosts are not compared, since two hosts may share the name of a service.
func taken(members []Member, own string, r Request, rows []Entry, issued []Issued, now time.Time) error {
	if len(r.AltNames) == 0 {
		return nil
	}
	has := map[string]bool{r.Name: true}
	for _, is := range issued {
		if now.Before(is.Cert.NotAfter) && slices.Contains(pki.CertNames(is.Cert), r.Name) {
			for _, n := range pki.CertNames(is.Cert) {
				has[n] = true
			}
		}
	}
	for _, n := range r.AltNames {
		if has[n] {
			continue
		}
		if n == own {
			return fmt.Errorf(
				"%w: %s is the name of this host, not of %s: remove --alt %s, or that name from the request",
				ErrRefused, n, r.Name, n)
		}
		if Find(members, n) != nil {
			return fmt.Errorf(
				"%w: %s is the name of another member, not of %s: remove --alt %s, or that name from the request, or "+
					"run `mailcertd ca unenrol %s` first", ErrRefused, n, r.Name, n, n)
		}
		for i := range rows {
			if e := &rows[i]; e.Status == Valid && now.Before(e.Expires) && strings.EqualFold(e.commonName(), n) {
				return fmt.Errorf("%w: %s has its own certificate, serial %s until %s, and is not %s: remove --alt "+
					"%s, or that name from the request, or revoke that one first (`mailcertd revoke %s`)",
					ErrRefused, n, e.serial(), e.Expires.UTC().Format("2006-01-02"), r.Name, n, e.serial())
			}
		}
	}
	return nil
}

// Sign decides about a request and carries the decision out. again says that c was given before. Certificates that c
// replaces are revoked after c is in newcerts; if that fails the error is an ErrMade, and the same request again
// completes it.
func (s *Session) Sign(ask Ask, rnd io.Reader, now time.Time) (c *x509.Certificate, again bool, err error) {
	d, err := s.Preview(ask, now)
	if err != nil {
		return nil, false, err
	}
	if c = d.Repeat; c == nil {
		if c, err = s.Issue(d.Request, rnd, now); err != nil {
			return nil, false, err
		}
	}
	for _, serial := range d.Revoke {
		if err := s.Revoke(serial, "superseded", now); err != nil {
			return c, d.Repeat != nil, fmt.Errorf("%w: %w", ErrMade, err)
		}
	}
	return c, d.Repeat != nil, nil
}

// permitted checks the names of a template against the name constraints of the CA before anything is written.
func permitted(t, ca *x509.Certificate) error {
	if len(ca.PermittedDNSDomains) == 0 {
		return nil
	}
	for _, n := range t.DNSNames {
		if !pki.Permitted(ca.PermittedDNSDomains, n) {
			return fmt.Errorf("the CA may not certify %q: a name must be in %s (ca.permitted_domains)", n,
				strings.Join(ca.PermittedDNSDomains, ", "))
		}
	}
	return nil
}
