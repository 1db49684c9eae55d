package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// canSign reports whether the local CA exists, is valid and its key can be used.
func canSign(a *assessment) bool {
	o := a.obs.CA
	return o.Err == nil && o.Status == ca.Complete && o.Current.Cert != nil &&
		hasKey(a) && a.at.Before(o.Current.Cert.NotAfter)
}

// mayMakeCA reports whether a new CA may be made by itself: only where CA directory, state and any certificate of ours
// are all absent, because an unmounted file system must not lead to a second CA. A certificate of which the state knows
// that an ACME CA issued it is no sign of a CA: that state would know the CA of this host too.
func mayMakeCA(a *assessment) bool {
	if misfit(a) != "" || a.obs.CA.Err != nil {
		return false // a directory that could not be read may exist
	}
	switch a.obs.CA.Status {
	case ca.Unfinished:
		return true
	case ca.Absent:
		return a.wish.MakeCA || a.obs.State.CA == "" && !a.obs.Loaded.Unread && !slices.ContainsFunc(a.pairs,
			func(p *pair) bool { return p.owner == Ours && orderedBy(p) == "" })
	}
	return false
}

// misfit is why a CA with this configuration could not sign for this host; "" where it could.
func misfit(a *assessment) string {
	switch {
	case a.name == "":
		return ""
	case strings.EqualFold(a.cfg.CA.Subject.CommonName, a.name):
		return "ca.subject.common_name is the name of this host, " + a.name +
			": the CA and a host must not have the same name"
	case !pki.Permitted(a.cfg.CA.PermittedDomains, a.name):
		return "ca.permitted_domains does not include this host, " + a.name + ", so it could not get a certificate"
	}
	return ""
}

// obtainable reports whether a certificate can be requested now. found has the action that makes the CA where it must
// be made first and no earlier section has it.
func obtainable(p *pair, sofar finding) (can bool, found finding) {
	if p.name == "" {
		return false, found
	}
	f, failed := p.obs.State.Failures[ObtainFailureOf(p.is)]
	if failed && (p.now.Before(f.Next) && !p.wish.Once || p.obs.FailedNow[ObtainFailureOf(p.is)]) {
		found.lookAt(f.Next, "ask the issuer again")
		found.report(Problem{Reason: NoIssuer, Severity: Error, Path: p.cfg.CA.Dir,
			Text: fmt.Sprintf("no certificate could be issued, %s since %s; the last error: %s",
				counted(f.Count, "attempt"), moment(f.First), f.Error),
			Hint: "correct the cause of the last error; mailcertd tries again " + again(f.Next, p.now) +
				"; to try it now, run `mailcertd renew`"})
		return false, found
	}
	if p.issuer.signs {
		return true, found
	}
	if p.issuer.Kind != config.IssuerLocal || !mayMakeCA(p.assessment) {
		return false, found
	}
	if !sofar.wants(InitCA) {
		found = makeCA(p.assessment)
	}
	return p.doing(sofar.and(found), InitCA), found // it may have failed and wait for its backoff
}

func makeCA(a *assessment) (found finding) {
	r, text := CAMake, toCreate.With("the private CA in "+a.cfg.CA.Dir)
	if a.obs.CA.Status == ca.Unfinished {
		r, text = CAUnfinished, toFinish.With("creating the private CA in "+a.cfg.CA.Dir)
		found.report(Problem{Reason: r, Severity: Warning, Path: a.cfg.CA.Dir, Repairable: true,
			Text: "the creation of the CA was interrupted, and there is a CA key without a certificate"})
	}
	found.do(Action{Kind: InitCA, Reason: r, Path: a.cfg.CA.Dir, Text: text})
	return found
}

// issuing decides about the issuers: the CA directory, and the last answers of the CA host and of the ACME CA.
func issuing(a *assessment) (found finding) {
	for _, by := range a.issuers {
		switch by.Kind {
		case config.IssuerLocal:
			found = found.and(privateCA(a))
		case config.IssuerNone:
			found = found.and(leftPublic(a))
		case config.IssuerSSH:
			found = found.and(member(a, by))
		case config.IssuerACME:
			found = found.and(orders(a, by)).and(publicSide(a, by)).and(outlook(a, by))
		}
	}
	return found
}

// privateCA decides about the CA directory.
func privateCA(a *assessment) (found finding) {
	o := a.obs.CA
	if o.Err != nil {
		found.report(Problem{Reason: CADamaged, Severity: Error, Path: a.cfg.CA.Dir, Text: o.Err.Error(),
			Hint: "run this as root, or correct the cause in the message"})
		return found
	}
	found = found.and(owner(a)).and(faults(a))
	if why := misfit(a); why != "" && (o.Status == ca.Absent || o.Status == ca.Unfinished) {
		found.report(Problem{Reason: NoIssuer, Severity: Error, Path: a.cfg.Path, Text: "no CA is created: " + why,
			Hint: "correct mailcertd.yaml"})
		return found
	}
	switch o.Status {
	case ca.Absent:
		if a.wish.MakeCA {
			return found.and(makeCA(a))
		}
		if !mayMakeCA(a) {
			found.report(Problem{Reason: CAMissing, Severity: Error, Path: a.cfg.CA.Dir,
				Text: "it is missing, but mailcertd has worked here before, so there may have been a CA: mailcertd " +
					"does not create a new one by itself",
				Hint: "mount or restore " + a.cfg.CA.Dir + ", or create a new CA with `mailcertd ca init`"})
		}
	case ca.Unfinished:
		found = found.and(makeCA(a))
	case ca.Damaged:
		found.report(Problem{Reason: CADamaged, Severity: Error, Path: a.cfg.CA.Dir,
			Repairable: a.doing(found, ReconcileCA),
			Text:       "the CA cannot sign as it is",
			Hint: "`mailcertd check` shows the cause as [ca-fault]: restore lost files from your own backups; " +
				"nothing is signed until then"})
	case ca.Complete:
		found = found.and(generation(a)).and(lists(a)).and(requests(a))
	}
	return found
}

// owner reports a CA directory or CA key that belongs to another user than root: this user can read and replace the
// key, whatever the modes are. An unprivileged mailcertd works with files of its own user, and reports nothing.
func owner(a *assessment) (found finding) {
	for _, n := range []durable.Node{a.obs.CA.Dir, a.obs.CA.Key} {
		if !a.obs.Root || !n.Exists || n.UID == 0 {
			continue
		}
		dir := a.cfg.CA.Dir
		if a.obs.CA.Dir.Kind == durable.Link {
			dir += "/" // chown -R does not follow the link itself
		}
		found.report(Problem{Reason: ModeLoose, Severity: Warning, Path: n.Path,
			Text: fmt.Sprintf("belongs to user %d, must belong to root: this user can sign with the CA's key", n.UID),
			Hint: "chown -R 0:0 " + dir})
		return found
	}
	return found
}

// leftoverSettles is the least age of a temporary file that is removed: a younger one may belong to a running
// mailcertd.
const leftoverSettles = time.Minute

// faults reports what is wrong with the CA's database, and plans one repair for all of it.
func faults(a *assessment) (found finding) {
	repairable := 0
	for _, f := range a.obs.CA.Faults {
		sev := Warning
		if settles := f.Since.Add(leftoverSettles); f.Kind == ca.FaultLeftover && a.now.Before(settles) &&
			!a.now.Before(f.Since) {
			found.lookAt(settles, "a temporary file in the CA directory can be removed")
			continue
		}
		if f.Repairable {
			repairable++
		}
		switch f.Kind {
		case ca.FaultTaken, ca.FaultIndexOther:
			sev = Error // without its row the certificate in use cannot be revoked
		case ca.FaultIndexFile:
			sev = Error // the CA signs and revokes nothing without its database
			f.Hint = cmp.Or(f.Hint, "nothing is signed or revoked until it can be read: move away what has this name, "+
				"or correct the cause in the message; a missing index.txt is made again from newcerts")
		}
		text := string(f.Kind)
		switch {
		case f.Want != "" && f.Got != "":
			text += fmt.Sprintf(": must be %s, is %s", f.Want, f.Got)
		case f.Want+f.Got != "":
			text += ": " + f.Want + f.Got
		}
		found.report(Problem{Reason: CAFault, Severity: sev, Path: f.Path, Text: text, Hint: f.Hint,
			Repairable: f.Repairable})
	}
	if repairable > 0 {
		found.do(Action{Kind: ReconcileCA, Reason: CAFault, Path: a.cfg.CA.Dir,
			Text: toRepair.With(counted(repairable, "fault") + " of the CA's database")})
	}
	return found
}
