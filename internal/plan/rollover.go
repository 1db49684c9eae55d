package plan

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
)

// GenerationDue returns the time at which a CA's next generation is made: when a third of its lifetime is left.
func GenerationDue(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-notAfter.Sub(notBefore) / 3)
}

// PromoteDeadline returns the time at which a waiting generation starts to issue even if a member does not trust it
// yet. After that, the end of the present generation would shorten the certificates that it issues.
func PromoteDeadline(notAfter time.Time, leafDays int) time.Time {
	return notAfter.Add(-time.Duration(leafDays) * 24 * time.Hour)
}

// generation decides about the CA's generations: the next one is made in time and issues when every member trusts it,
// and one whose last certificate has expired is removed.
func generation(a *assessment) (found finding) {
	o := a.obs.CA
	found = found.and(locked(a))
	if ca.Prunable(o, a.at) && a.clock == clockFine {
		found.do(Action{Kind: PruneCA, Reason: CAPrune, Path: a.cfg.CA.Dir,
			Text: toRemove.With("a CA generation whose last certificate has expired")})
	}
	c := o.Current.Cert
	if c == nil {
		return found
	}
	if a.at.After(c.NotAfter) {
		found.report(Problem{Reason: CAEnded, Severity: Error, Path: o.Dir.Path,
			Repairable: hasKey(a) && a.clock == clockFine,
			Text:       "the CA expired on " + moment(c.NotAfter)})
	}
	if weak(c.PublicKey) {
		found.report(Problem{Reason: KeyWeak, Severity: Warning, Path: o.Key.Path, Text: "the CA's key is " +
			string(pki.TypeOf(c.PublicKey)) + ": an OpenSSL with security level 2 refuses everything that it signs",
			Hint: "to replace it by one of the type in ca.key, run `mailcertd ca rollover`"})
	}
	begins, anew := early(a)
	if found = found.and(begins); anew {
		return found
	}
	if o.HasNext() {
		found = found.and(promote(a))
		return found
	}
	due := GenerationDue(c.NotBefore, c.NotAfter)
	asked := a.wish.Rollover && a.wish.RolloverFrom == pki.Fingerprint(c)
	if a.at.Before(due) && !asked {
		found.lookAt(due, "the CA's next generation is due")
		return found
	}
	canMake := hasKey(a) && a.clock == clockFine
	text := "the CA expires on " + moment(c.NotAfter) + "; its next generation is due"
	if asked {
		text = "somebody asked for the next generation"
	}
	found.report(Problem{Reason: CAGeneration, Severity: Warning, Path: o.Dir.Path, Repairable: canMake, Text: text})
	if canMake {
		found.do(Action{Kind: NextCA, Reason: CAGeneration, Path: a.cfg.CA.Dir,
			Text: toMake.With("the CA's next generation: same subject, new key, cross-signed by the present one")})
	}
	return found
}

// promote decides whether the waiting generation starts to issue now.
func promote(a *assessment) (found finding) {
	o := a.obs.CA
	waiting, silent := o.Waiting(a.at)
	deadline := PromoteDeadline(o.Current.Cert.NotAfter, a.cfg.Validity.Days)
	if len(silent) > 0 {
		found.report(Problem{Reason: CASilent, Severity: Warning, Path: o.Dir.Path,
			Text: "these members have not asked for 30 days, so the next generation does not wait for them: " +
				strings.Join(silent, ", "),
			Hint: "they log verify=FAIL until they ask again; remove a member that no longer exists with " +
				"`mailcertd ca forget NAME`"})
	}
	switch late := !a.at.Before(deadline); {
	case a.clock != clockFine:
		return found
	case o.Unlisted && !late && !a.wish.Promote:
		return // who must trust it first is not known; [ca-fault] says why
	case !a.trusted(o.Next.Cert) && !a.host.keptForeign() && !late:
		return // this plan installs it in this host's cacert.pem first
	case len(waiting) == 0 || late || a.wish.Promote:
		text := "the CA's next generation into force"
		if len(waiting) > 0 {
			text += "; these members do not trust it yet, and log verify=FAIL until they ask again, within a day: " +
				strings.Join(waiting, ", ")
		}
		found.do(Action{Kind: PromoteCA, Reason: CAGeneration, Path: a.cfg.CA.Dir, Text: toPut.With(text)})
	default:
		found.lookAt(deadline, "the CA's next generation is put into force")
		found.report(Problem{Reason: CAWaiting, Severity: Notice, Path: o.Dir.Path,
			Text: fmt.Sprintf("the next generation waits for %s to trust it, until %s at the latest",
				strings.Join(waiting, ", "), moment(deadline)),
			Hint: "each member asks once a day; to go on without waiting, run `mailcertd ca rollover --now`"})
	}
	return found
}

// hasKey reports whether the CA's key can be used now, without asking a person for a passphrase.
func hasKey(a *assessment) bool {
	k := a.obs.CA.KeyInfo
	return k.Encrypted && a.obs.Passphrase.Ready || !k.Encrypted && k.Err == nil && k.Public != nil
}

// locked reports a CA key that the daemon cannot use because of its passphrase. It is an error as soon as a renewal is
// due, and a warning before that.
func locked(a *assessment) (found finding) {
	pass := a.obs.Passphrase
	if pass.Problem != "" {
		found.report(Problem{Reason: CAPassphrase, Severity: Error, Path: pass.Path, Text: pass.Problem})
	}
	if !a.obs.CA.KeyInfo.Encrypted || pass.Ready {
		return found
	}
	text, sev := "the CA key has a passphrase, so the daemon cannot sign", Warning
	if a.host.leaf != nil && a.host.owner.mine() {
		due := RenewalDue(a.host.leaf, a.name, a.cfg.Validity.RenewBefore)
		text += "; the certificate expires on " + moment(a.host.leaf.NotAfter)
		if !a.at.Before(due) {
			sev = Error
			text += ", in " + span(a.host.leaf.NotAfter.Sub(a.at))
		}
	}
	found.report(Problem{Reason: CALocked, Severity: sev, Path: a.obs.CA.Key.Path, Text: text,
		Hint: "run `mailcertd renew`, which asks for the passphrase, or set ca.passphrase_file"})
	return found
}
