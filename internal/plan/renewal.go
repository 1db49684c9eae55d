package plan

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"
)

// RenewalDue is when a certificate is renewed: when a third of its lifetime is left
// (before = 0), or before the given time ahead of its end, and earlier by a
// jitter of at most a thirtieth of the lifetime, never later. The jitter comes
// from the host's name and the serial, so that it is the same at each look and
// another on each host.
func RenewalDue(c *x509.Certificate, host string, before time.Duration) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	if life <= 0 {
		return c.NotAfter
	}
	lead := before
	if lead <= 0 {
		lead = life / 3
	}
	// A lead as long as the life itself would renew for ever.
	lead = min(lead, life*9/10)
	var jitter time.Duration
	if most := life / 30; most > 0 {
		sum := sha256.Sum256(append([]byte(host+"\x00"), c.SerialNumber.Bytes()...))
		jitter = time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(most))
	}
	return c.NotAfter.Add(-lead - jitter)
}

// isDue says that the time to renew c has come.
func (a *assessment) isDue(c *x509.Certificate) bool {
	return !a.at.Before(RenewalDue(c, a.name, a.cfg.Validity.RenewBefore))
}

// gains says that a certificate issued now would last longer than c by a
// tenth of its life: what the CA's own end cuts short must not be renewed over
// and over.
func (p *pair) gains(c *x509.Certificate) bool {
	ends := p.at.Add(time.Duration(p.cfg.Validity.Days) * 24 * time.Hour)
	if g := p.currentCA(); g != nil && p.owner != Interim && ends.After(g.NotAfter) {
		ends = g.NotAfter
	}
	return ends.Sub(c.NotAfter) > c.NotAfter.Sub(c.NotBefore)/10
}
