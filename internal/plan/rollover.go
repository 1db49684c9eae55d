package plan

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
)

// GenerationDue is when a CA's next generation starts: a third of its life is left.
func GenerationDue(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-notAfter.Sub(notBefore) / 3)
}

// PromoteDeadline is when a waiting generation is put in force whoever does
// not trust it yet: from then on a certificate of the one before would be cut
// short by that one's own end.
func PromoteDeadline(notAfter time.Time, leafDays int) time.Time {
	return notAfter.Add(-time.Duration(leafDays) * 24 * time.Hour)
}

// generation starts the next generation in time, puts it in force when every
// enrolled host trusts it, and removes ended ones.
func (a *assessment) generation(p *Plan) {
	o := a.obs.CA
	a.locked(p)
	if ca.Prunable(o, a.now) && a.clock == clockFine {
		p.do(Action{Kind: PruneCA, Reason: CAPrune, Path: a.cfg.CA.Dir, Text: "remove a CA generation whose last certificate has expired"})
	}
	c := o.Current.Cert
	if c == nil {
		return
	}
	if a.now.After(c.NotAfter) {
		p.report(Problem{Reason: CAEnded, Severity: Error, Path: o.Dir.Path, Mended: a.hasKey() && a.clock == clockFine, Text: "the CA expired on " + day(c.NotAfter)})
	}
	if weak(c.PublicKey) {
		p.report(Problem{Reason: KeyWeak, Severity: Warning, Path: o.Key.Path, Text: "the CA's key is " + string(pki.TypeOf(c.PublicKey)) + ": OpenSSL takes nothing that it signs where its security level is 2",
			Hint: "`mailcertd ca rollover` makes one of ca.key"})
	}
	if o.HasNext() {
		a.promote(p)
		return
	}
	due := GenerationDue(c.NotBefore, c.NotAfter)
	asked := a.wish.Rollover && a.wish.RolloverFrom == ca.Fingerprint(c)
	if a.now.Before(due) && !asked {
		p.lookAt(due, "the CA's next generation is due")
		return
	}
	canMake := a.hasKey() && a.clock == clockFine
	text := "the CA ends on " + day(c.NotAfter) + ": time for its next generation"
	if asked {
		text = "the next generation was asked for"
	}
	p.report(Problem{Reason: CAGeneration, Severity: Warning, Path: o.Dir.Path, Mended: canMake, Text: text})
	if canMake {
		p.do(Action{Kind: NextCA, Reason: CAGeneration, Path: a.cfg.CA.Dir,
			Text: "make the CA's next generation: same subject, new key, cross-signed by the present one"})
	}
}

// promote decides whether the waiting generation issues from now on.
func (a *assessment) promote(p *Plan) {
	o := a.obs.CA
	waiting, silent := o.Waiting(a.now)
	deadline := PromoteDeadline(o.Current.Cert.NotAfter, a.cfg.Validity.Days)
	if len(silent) > 0 {
		p.report(Problem{Reason: CASilent, Severity: Warning, Path: o.Dir.Path,
			Text: "not heard of for 30 days, and not waited for: " + strings.Join(silent, ", "),
			Hint: "they will log verify=FAIL until they ask again; `mailcertd ca forget NAME` takes a host that is gone off the list"})
	}
	switch late := !a.now.Before(deadline); {
	case a.clock != clockFine:
		return
	case o.Unlisted && !late && !a.wish.Promote:
		return // who must trust it first is not known; [ca-fault] says why
	case !a.trusted(o.Next.Cert) && !a.keptForeign() && !late:
		return // this host first: cacert.pem is installed in this round
	case len(waiting) == 0 || late || a.wish.Promote:
		text := "put the CA's next generation in force"
		if len(waiting) > 0 {
			text += ", not yet trusted by " + strings.Join(waiting, ", ")
		}
		p.do(Action{Kind: PromoteCA, Reason: CAGeneration, Path: a.cfg.CA.Dir, Text: text})
	default:
		p.lookAt(deadline, "the CA's next generation is put in force")
		p.report(Problem{Reason: CAWaiting, Severity: Notice, Path: o.Dir.Path,
			Text: fmt.Sprintf("the next generation waits for %s to trust it, until %s at the latest", strings.Join(waiting, ", "), day(deadline)),
			Hint: "each host asks once a day; `mailcertd ca rollover --now` does not wait"})
	}
}

// hasKey says that the CA's key can be used now.
func (a *assessment) hasKey() bool {
	k := a.obs.CA.KeyInfo
	return k.Encrypted && a.obs.Passphrase.Ready || !k.Encrypted && k.Err == nil && k.Public != nil
}

// locked reports a CA key that nobody can use unattended, the louder the sooner
// something must be signed.
func (a *assessment) locked(p *Plan) {
	pass := a.obs.Passphrase
	if pass.Problem != "" {
		p.report(Problem{Reason: CAPassphrase, Severity: Error, Path: pass.Path, Text: pass.Problem})
	}
	if !a.obs.CA.KeyInfo.Encrypted || pass.Ready {
		return
	}
	text, sev := "the CA key has a passphrase: nothing can be signed unattended", Warning
	if a.leaf != nil && a.owner.mine() {
		due := RenewalDue(a.leaf, a.name, a.cfg.Validity.RenewBefore)
		text += "; the certificate ends on " + day(a.leaf.NotAfter)
		if !a.now.Before(due) {
			sev = Error
			text += ", in " + span(a.leaf.NotAfter.Sub(a.now))
		}
	}
	p.report(Problem{Reason: CALocked, Severity: sev, Path: a.obs.CA.Key.Path, Text: text,
		Hint: "run `service mailcertd renew`, which asks for it, or set ca.passphrase_file"})
}
