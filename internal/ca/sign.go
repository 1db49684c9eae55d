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

// Ask is what somebody else wants signed.
type Ask struct {
	pki.Request
	// Name is the host that asks; "" takes the request's own: its CN, else its
	// first name. The certificate is for Name and the request's other names.
	Name string
	// Allowed are the names beside Name that it may have; ignored with ByHand.
	Allowed []string
	ByHand  bool // a person looks at it and answers for the names
	Days    int
	// Holds is the serial that the asker wants replaced: it has that one and
	// wants another. nil: the same certificate again serves it.
	Holds *big.Int
	// HoldsRow is the line of Holds in index.txt, also where it is revoked; 0: it has none. What was issued before it
	// is not given again: the asker has had it. Preview finds it.
	HoldsRow int
	// Also are the serials of certificates that the asker goes on using beside this one: those of its other pairs of
	// key and certificate. Each of them that is valid makes room for as many certificates as one pair may have.
	Also []*big.Int
	// Signed is how many certificates this name got since its member was last noted.
	Signed int
	// Replace revokes the valid certificates of that name over other keys, as superseded.
	Replace bool
	// Beside says that the asker goes on using all of them, as Also does for single ones.
	Beside bool
}

// Bounds of what one name gets, for each pair of key and certificate that it uses.
const (
	maxLive   = 4 // valid certificates at a time
	maxPerDay = 6 // signatures within a day
	maxPairs  = 3 // host, host-ecdsa, client
)

// ErrRefused says that a request is not signed, and the text why. Test with errors.Is.
var ErrRefused = errors.New("refused")

// Refusal is why something was refused: the text of an ErrRefused without its
// first word, for who says that it is a refusal anyway.
func Refusal(text string) string {
	word := ErrRefused.Error() + ": "
	for strings.HasPrefix(text, word) {
		text = text[len(word):]
	}
	return text
}

// Decision is what a CA does with a request.
type Decision struct {
	Repeat  *x509.Certificate // the valid certificate over this key and these names: given again
	Revoke  []*big.Int        // to be revoked as superseded
	Request Request           // to be signed, when Repeat is nil
}

// Decide says what becomes of a request, from the certificates that were
// issued for its name. An error satisfies errors.Is(err, ErrRefused) and says
// what to do instead. It is a pure function.
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
	for i := range live { // newest first; one that a wrong clock has signed and that has not begun serves nobody
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
			case ask.Beside, lastThird(is.Cert, now), held(is), also(is): // also of another pair
			case slices.ContainsFunc(others, func(o Issued) bool { return held(o) && is.before(o) }),
				is.line() < ask.HoldsRow:
				// an older one of the same host than the one it shows
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

// Names are the canonical names asked for, without repetition, the host's own first; it is given beside them.
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

// lastThird says that no more than a third of a certificate's life is left.
func lastThird(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) <= c.NotAfter.Sub(c.NotBefore)/3
}

func recent(signed []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(signed), func(t time.Time) bool {
		return now.Sub(t) >= 24*time.Hour || t.After(now)
	})
}

// Preview is what Sign would do.
func (s *Session) Preview(ask Ask, now time.Time) (Decision, error) {
	return Preview(s.obs, s.o, ask, now)
}

// Preview is what Sign would do with the CA as it was observed; no key is needed.
func Preview(obs Observed, o Options, ask Ask, now time.Time) (Decision, error) {
	if obs.db == nil || obs.Current.Cert == nil {
		return Decision{}, fmt.Errorf("%s: %w (%s)", o.Dir, ErrDamaged, obs.Status)
	}
	if obs.Err != nil {
		return Decision{}, obs.Err
	}
	if obs.membersErr != nil { // whose names the others have is not known
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
	if unread != nil { // it may be the one that is asked for, or in its way
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
	if err := obs.taken(o.Host, d.Request, rows, issued, now); err != nil {
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

// taken refuses further names that are another host's own: this host's, an
// enrolled one's, or the CN of a valid certificate. What the host that asks has
// already it may have again. Further names of others are not looked at: two
// hosts may share one, such as that of a service.
func (o *Observed) taken(own string, r Request, rows []Entry, issued []Issued, now time.Time) error {
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
		if Find(o.Members, n) != nil {
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

// Sign decides about a request and carries the decision out: the certificate, and whether it is one that was given
// before. What it replaces is revoked when it is in newcerts: the same request again completes that.
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

// permitted checks a template against the CA's name constraints before
// anything is written.
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
