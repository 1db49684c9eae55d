package plan

import (
	"crypto/x509"
	"time"
)

// lastPart says that warnings begin in the last quarter of a lifetime. certbot, lego and this program renew when a
// third is left, so in the last quarter a renewal has not happened that should have.
const lastPart = 4

// WarnFrom returns the time from which a person is warned of an end: that long before it, or from the last quarter of
// the lifetime, whichever is later. So a certificate of six days does not cause a warning on its first day. An unknown
// lifetime (notBefore zero, or not before notAfter) does not count.
func WarnFrom(notBefore, notAfter time.Time, before time.Duration) time.Time {
	if life := notAfter.Sub(notBefore); !notBefore.IsZero() && life > 0 {
		before = min(before, life/lastPart)
	}
	return notAfter.Add(-before)
}

// grave reports whether so little time is left that the end of a certificate is an error and not a warning: a day, or a
// tenth of its lifetime where that is shorter.
func grave(c *x509.Certificate, left time.Duration) bool {
	return left <= min(24*time.Hour, c.NotAfter.Sub(c.NotBefore)/10)
}

// EndsWithin reports whether a person who looks so far ahead is told of an end: it comes within that time, and the last
// quarter of the lifetime has begun.
func EndsWithin(from, end time.Time, within time.Duration, now time.Time) bool {
	return !now.Before(WarnFrom(from, end, within))
}
