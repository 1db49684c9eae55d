package plan

import (
	"crypto/x509"
	"time"
)

// lastPart is the part of a lifetime, one in so many, in which its end is warned
// of. Whoever renews does so with a third left, as certbot, lego and this program
// do; in the last quarter that should have happened, and has not.
const lastPart = 4

// WarnFrom is when a person who wants to hear of an end so long before is told: then, or when the last quarter of the
// life begins, whichever is later. What lives for six days is not about to end on its first day. A life that is not
// known (notBefore zero, or not before notAfter) makes no difference.
func WarnFrom(notBefore, notAfter time.Time, before time.Duration) time.Time {
	if life := notAfter.Sub(notBefore); !notBefore.IsZero() && life > 0 {
		before = min(before, life/lastPart)
	}
	return notAfter.Add(-before)
}

// grave says that so little of a certificate's life is left that its end is an
// error: a day, or a tenth of a shorter life.
func grave(c *x509.Certificate, left time.Duration) bool {
	return left <= min(24*time.Hour, c.NotAfter.Sub(c.NotBefore)/10)
}

// EndsWithin says that an end is near enough to be told to a person who looks so far ahead: within that time, and in
// the last part of the life.
func EndsWithin(from, end time.Time, within time.Duration, now time.Time) bool {
	return !now.Before(WarnFrom(from, end, within))
}
