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
