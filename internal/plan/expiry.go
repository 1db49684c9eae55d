package plan

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// expiries reports certificates that end soon: on the configured days, but not before the last quarter of their life,
// and daily after the last of these days. It sets the time of the next report.
func expiries(a *assessment, sofar finding) (found finding) {
	for _, p := range a.pairs {
		if p.wanted || p.used() {
			found = found.and(expiry(p, sofar))
		}
	}
	return found
}

func expiry(p *pair, sofar finding) (found finding) {
	if p.leaf == nil || p.doing(sofar, Obtain) || replacesLeaf(p, sofar) {
		return found
	}
	reason := ForeignExpiring
	if p.owner.mine() {
		reason = Expiring
		// A certificate that is due and cannot be renewed is looked at when its failure or its end says so.
		if !p.isDue(p.leaf) {
			found.lookAt(p.dueOf(p.leaf), "renewal is due")
			return found
		}
	}
	left := p.leaf.NotAfter.Sub(p.at)
	if left <= 0 {
		found.report(Problem{Reason: reason, Severity: Error, Path: certPath(p),
			Text: "expired on " + moment(p.leaf.NotAfter)})
		return found
	}
	found.lookAt(p.leaf.NotAfter, "the certificate expires")
	const aDay = 24 * time.Hour
	var before time.Duration // the number of days of the last warning that was due
	daily := false
	for i, d := range p.cfg.Validity.WarnDays { // descending
		at := WarnFrom(p.leaf.NotBefore, p.leaf.NotAfter, time.Duration(d)*aDay)
		if p.at.Before(at) {
			found.lookAt(at, "first warning before the certificate expires")
			break
		}
		before, daily = p.leaf.NotAfter.Sub(at), i == len(p.cfg.Validity.WarnDays)-1
	}
	if before == 0 {
		return found
	}
	if daily { // no configured day is left
		before = left
	}
	days := int((before + aDay - 1) / aDay)
	if daily && days > 1 {
		found.lookAt(p.leaf.NotAfter.Add(-time.Duration(days-1)*aDay),
			"the next warning before the certificate expires")
	}
	sev := Warning
	if grave(p.leaf, left) {
		sev = Error
	}
	found.report(Problem{Reason: reason, Severity: sev, Path: certPath(p),
		Text: fmt.Sprintf("expires on %s, in less than %s", moment(p.leaf.NotAfter), counted(days, "day"))})
	return found
}

// replacesLeaf says that the plan installs a certificate of the pair now.
func replacesLeaf(p *pair, sofar finding) bool {
	return slices.ContainsFunc(sofar.actions, func(act Action) bool {
		_, rests := p.resting(act)
		return !rests && act.Change != nil && act.Change.file(p.is.CertFile) != nil
	})
}

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
