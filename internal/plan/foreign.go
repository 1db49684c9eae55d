package plan

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
)

// reportForeign says what is known of a set that is not ours to replace.
func (a *assessment) reportForeign(p *Plan) {
	if a.unjudged() {
		for _, e := range []struct {
			r   Reason
			n   durable.Node
			err error
		}{{KeyUnreadable, a.obs.Certs.Key.Node, a.obs.Certs.Key.Key.Err}, {CertUnreadable, a.obs.Certs.Cert.Node, a.obs.Certs.Cert.File.Err}} {
			if e.err != nil {
				p.report(Problem{Reason: e.r, Severity: Warning, Path: e.n.Path,
					Text: "cannot be judged and is left alone: " + e.err.Error(),
					Hint: "`mailcertd renew --force` replaces it and keeps a copy"})
			}
		}
		return
	}
	why := "of another CA (" + a.leaf.Issuer.String() + "): kept as it is, not renewed by mailcertd"
	hint := "`mailcertd renew --force` replaces it by one of our CA and keeps a copy"
	if a.cfg.Issuer.Kind == config.IssuerNone {
		hint = "`mailcertd install FILE` replaces it and keeps a copy"
	}
	p.report(Problem{Reason: ForeignKept, Severity: Notice, Path: certPath(a), Text: why, Hint: hint})
	if a.wish.Renew && !a.wish.Force && a.wishOpen() {
		p.report(Problem{Reason: ForeignKept, Severity: Error, Path: certPath(a), Text: "is not ours to renew",
			Hint: "`mailcertd renew --force` replaces it and keeps a copy"})
	}
	if a.name != "" && !a.covers(a.leaf) && a.leaf.VerifyHostname(a.name) != nil {
		p.report(Problem{Reason: WrongName, Severity: Warning, Path: certPath(a),
			Text: "is for " + strings.Join(CertNames(a.leaf), ", ") + ", the host is " + a.name})
	}
	if !bothPurposes(a.leaf) {
		p.report(Problem{Reason: WrongPurpose, Severity: Warning, Path: certPath(a),
			Text: "lacks serverAuth or clientAuth: sendmail is server and client with one certificate"})
	}
	if a.now.Before(a.leaf.NotBefore) {
		p.report(Problem{Reason: NotYetValid, Severity: Warning, Path: certPath(a), Text: "not valid before " + day(a.leaf.NotBefore)})
		p.lookAt(a.leaf.NotBefore, "certificate becomes valid")
	}
}

// reportBlocked says that a name is taken by what no file can replace.
func (a *assessment) reportBlocked(p *Plan, n durable.Node) {
	if n.Err != nil && !errors.Is(n.Err, durable.ErrNotRegular) {
		p.report(Problem{Reason: Unreadable, Severity: Error, Path: n.Path, Text: "cannot be read: " + n.Err.Error(),
			Hint: "run as root, or correct its mode and owner"})
		return
	}
	what := "a special file"
	if n.IsDir {
		what = "a directory"
	}
	p.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path, Text: "is " + what + " where a file belongs",
		Hint: "move it away; mailcertd does not delete it"})
}

// expiry reports certificates that end, at the configured days but not before
// the last quarter of their life, daily from the last of these on, and sets the
// time of the next such look.
func (a *assessment) expiry(p *Plan) {
	if a.leaf == nil || p.has(Obtain) || replacesLeaf(p) {
		return
	}
	reason := ForeignExpiring
	if a.owner.mine() {
		reason = Expiring
		due := RenewalDue(a.leaf, a.name, a.cfg.Validity.RenewBefore)
		p.lookAt(due, "renewal is due")
		if !a.isDue(a.leaf) {
			return
		}
	}
	left := a.leaf.NotAfter.Sub(a.now)
	if left <= 0 {
		p.report(Problem{Reason: reason, Severity: Error, Path: certPath(a), Text: "expired on " + day(a.leaf.NotAfter)})
		return
	}
	p.lookAt(a.leaf.NotAfter, "certificate ends")
	const aDay = 24 * time.Hour
	var before time.Duration // of the last warning that is past
	daily := false
	for i, d := range a.cfg.Validity.WarnDays { // descending
		at := WarnFrom(a.leaf.NotBefore, a.leaf.NotAfter, time.Duration(d)*aDay)
		if a.now.Before(at) {
			p.lookAt(at, "certificate ends soon")
			break
		}
		before, daily = a.leaf.NotAfter.Sub(at), i == len(a.cfg.Validity.WarnDays)-1
	}
	if before == 0 {
		return
	}
	if daily { // nobody is told again later
		before = left
	}
	days := int((before + aDay - 1) / aDay)
	if daily && days > 1 {
		p.lookAt(a.leaf.NotAfter.Add(-time.Duration(days-1)*aDay), "certificate ends soon")
	}
	sev := Warning
	if grave(a.leaf, left) {
		sev = Error
	}
	p.report(Problem{Reason: reason, Severity: sev, Path: certPath(a),
		Text: fmt.Sprintf("ends on %s, in less than %d day(s)", day(a.leaf.NotAfter), days)})
}

func replacesLeaf(p *Plan) bool {
	for _, act := range p.Actions {
		if act.Change != nil && act.Change.file(certdir.CertName) != nil {
			return true
		}
	}
	return false
}
