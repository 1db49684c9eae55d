package plan

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// reportForeign says what is known of a set that is not ours to replace.
func (a *assessment) reportForeign(p *Plan) {
	if a.unjudged() {
		for _, e := range []struct {
			r   Reason
			n   durable.Node
			err error
		}{{KeyUnreadable, a.obs.Certs.Key.Node, a.obs.Certs.Key.Key.Err}, {CertUnreadable, a.obs.Certs.Cert.Node, a.obs.Certs.Cert.File.Err}} {
			if a.leaf != nil && a.leaf.PublicKey == nil && e.r == CertUnreadable {
				e.err = fmt.Errorf("%w: its public key is of a kind that Go does not know", pki.ErrUnsupported)
			}
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
	switch server, client := purposes(a.leaf); {
	case !server:
		p.report(Problem{Reason: WrongPurpose, Severity: Warning, Path: certPath(a),
			Text: "is not for servers (its extendedKeyUsage lacks serverAuth): hosts that send mail to this one log verify=FAIL"})
	case !client:
		p.report(Problem{Reason: WrongPurpose, Severity: Notice, Path: certPath(a),
			Text: "is for servers alone (its extendedKeyUsage has no clientAuth): hosts that get mail from this one log verify=FAIL about it as a client"})
	}
	a.reportStrength(p)
	if e := a.obs.Certs.Cert; e.File.Behind != nil {
		p.report(Problem{Reason: ChainBroken, Severity: Warning, Path: certPath(a),
			Text: "what stands behind its first certificate cannot be read (" + e.File.Behind.Error() + "): sendmail loads the first alone, which is kept; CAs behind it get no hash link",
			Hint: "copy the file anew from its source"})
	}
	if a.obs.Certs.Cert.File.Marked {
		p.report(Problem{Reason: CertUnreadable, Severity: Notice, Path: certPath(a),
			Text: "begins with a byte-order mark, which OpenSSL reads from release 3.0 only: kept as it is",
			Hint: "an editor that saves UTF-8 without a byte-order mark removes it"})
	}
	if a.now.Before(a.leaf.NotBefore) {
		p.report(Problem{Reason: NotYetValid, Severity: Warning, Path: certPath(a), Text: "not valid before " + day(a.leaf.NotBefore)})
		p.lookAt(a.leaf.NotBefore, "certificate becomes valid")
	}
}

// reportStrength says that a kept certificate is too weak for security level 2,
// or of a digest that newer releases refuse.
func (a *assessment) reportStrength(p *Plan) {
	switch (pki.Libssl{Level: 2}).Refuses(a.leaf) {
	case pki.WeakKey:
		p.report(Problem{Reason: KeyWeak, Severity: Warning, Path: keyPath(a),
			Text: "the key is " + string(pki.TypeOf(a.leaf.PublicKey)) + ": OpenSSL loads it at its security level 1; at level 2 (Debian's; OpenSSL's own from 3.2) it does not: sendmail would offer no STARTTLS, and peers log verify=FAIL",
			Hint: "ask for a certificate over a stronger key"})
	case pki.WeakDigest:
		p.report(Problem{Reason: CertWeak, Severity: Warning, Path: certPath(a),
			Text: "is signed with " + a.leaf.SignatureAlgorithm.String() + ", which OpenSSL 3 does not load: kept as long as an older one serves it",
			Hint: "ask its CA for a certificate that is signed with SHA-256"})
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
