package plan

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// RenewalDue returns the time at which a certificate is renewed: that long before its end, or, for before = 0, when a
// third of its lifetime is left. A jitter of at most a thirtieth of the lifetime makes it earlier, never later, so that
// not all hosts ask on one day. The jitter depends on the host name and the serial, so it is the same at each look.
func RenewalDue(c *x509.Certificate, host string, before time.Duration) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	if life <= 0 {
		return c.NotAfter
	}
	lead := before
	if lead <= 0 {
		lead = life / 3
	}
	// With a lead as long as the lifetime, each new certificate would be due at once.
	lead = min(lead, life*9/10)
	var jitter time.Duration
	if most := life / 30; most > 0 {
		sum := sha256.Sum256(append([]byte(host+"\x00"), c.SerialNumber.Bytes()...))
		jitter = time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(most))
	}
	return c.NotAfter.Add(-lead - jitter)
}

// DueBy is what the time of a renewal follows from. Its words must not change: JSON has them.
type DueBy string

// What the time of a renewal follows from.
const (
	DueByLife   DueBy = "life"   // validity.renew_before: a third of the life is left
	DueByDays   DueBy = "days"   // validity.renew_before: so many days are left
	DueByWindow DueBy = "window" // the window that the ACME CA has named
	DueByEnd    DueBy = "end"    // the window of the ACME CA begins too late: a tenth of the life is left
	DueByIssuer DueBy = "issuer" // an interim certificate, which is replaced when its issuer has signed
)

// dueBy is when a certificate is renewed and what that follows from: the window that an ACME CA has named for it,
// else RenewalDue. A window that begins later than a tenth of the life before the end is not waited for. A window that
// is over for a new certificate counts, since the CA may be about to revoke it (RFC 9773 section 4.2). Only where the
// certificate itself was ordered because of such a window, it is kept for a day: a CA that always names one would get
// five orders a day.
func (a *assessment) dueBy(c *x509.Certificate) (due time.Time, by DueBy) {
	m, known := a.window(c)
	life := c.NotAfter.Sub(c.NotBefore)
	earliest, latest := c.NotBefore.Add(min(freshFor, life/2)), c.NotAfter.Add(-life/10)
	switch before := a.cfg.Validity.RenewBefore; {
	case known && m.Renew.After(latest):
		return latest, DueByEnd
	case known && m.ByWindow && m.Renew.Before(earliest):
		return earliest, DueByWindow
	case known:
		return m.Renew, DueByWindow
	case before > 0:
		return RenewalDue(c, a.name, before), DueByDays
	default:
		return RenewalDue(c, a.name, before), DueByLife
	}
}

// freshFor is how long a certificate is kept at least that was ordered because of the window of the one before it.
const freshFor = 24 * time.Hour

// window is what the ACME CA last said of when the leaf is to be renewed; false: nothing is known of it.
func (a *assessment) window(c *x509.Certificate) (state.ACME, bool) {
	id := pki.Fingerprint(c)
	for _, p := range certdir.Pairs() {
		if m, known := a.obs.State.ACME[p.Name]; known && m.Leaf == id && !m.Renew.IsZero() {
			return m, true
		}
	}
	return state.ACME{}, false
}

// dueOf is when a certificate is renewed.
func (a *assessment) dueOf(c *x509.Certificate) time.Time {
	due, _ := a.dueBy(c)
	return due
}

// isDue reports whether it is time to renew c.
func (a *assessment) isDue(c *x509.Certificate) bool {
	return !a.at.Before(a.dueOf(c))
}

// gains reports whether a certificate issued now would end later than the installed one by more than a tenth of its
// lifetime. Where the CA's own end limits both, a renewal gains nothing and would be due again at once.
func gains(p *pair) bool {
	if p.issuer.acme() {
		return true // how long the next one lives is for that CA to say
	}
	ends := p.at.Add(time.Duration(p.cfg.Validity.Days) * 24 * time.Hour)
	if g := p.issuer.current(); g != nil && p.owner != Interim && ends.After(g.NotAfter) {
		ends = g.NotAfter
	}
	return ends.Sub(p.leaf.NotAfter) > p.leaf.NotAfter.Sub(p.leaf.NotBefore)/10
}

// rotates reports whether our key has reached key.rotate_after. The age of a key is known from the state alone.
func (p *pair) rotates() bool {
	if p.cfg.Key.RotateAfter <= 0 || p.key == nil {
		return false
	}
	o, known := p.obs.State.Ours[FileID(p.keyFile.Digest)]
	return known && p.at.Sub(o.At) >= p.cfg.Key.RotateAfter
}

// MomentIn is the moment of a window at which this host renews: the same one at each look, and another one on another
// host, so that not all hosts ask at once (RFC 9773 section 4.2).
func MomentIn(start, end time.Time, host string, c *x509.Certificate) time.Time {
	width := end.Sub(start)
	if width <= 0 {
		return start
	}
	sum := sha256.Sum256(append([]byte(host+"\x00"), c.SerialNumber.Bytes()...))
	return start.Add(time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(width))).Truncate(time.Second)
}
