package plan

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"
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

// isDue reports whether it is time to renew c.
func (a *assessment) isDue(c *x509.Certificate) bool {
	return !a.at.Before(a.dueOf(c))
}

// gains reports whether a certificate issued now would end later than c by more than a tenth of c's lifetime. Where the
// CA's own end limits both, a renewal gains nothing and would be due again at once.
func gains(p *pair, c *x509.Certificate) bool {
	if p.issuer.acme() {
		return true // how long the next one lives is for that CA to say
	}
	ends := p.at.Add(time.Duration(p.cfg.Validity.Days) * 24 * time.Hour)
	if g := p.issuer.current(); g != nil && p.owner != Interim && ends.After(g.NotAfter) {
		ends = g.NotAfter
	}
	return ends.Sub(c.NotAfter) > c.NotAfter.Sub(c.NotBefore)/10
}
