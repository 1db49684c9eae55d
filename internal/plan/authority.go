package plan

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/pki"
)

// ObtainFailure is the key of state.Failures under which failed requests to
// the issuer are counted.
const ObtainFailure = "obtain"

// canSign says that the local CA exists, is open and still valid.
func (a *assessment) canSign() bool {
	o := a.obs.CA
	return a.cfg.Issuer.Kind == config.IssuerLocal && o.Err == nil && o.Status == ca.Complete && o.Current.Cert != nil &&
		a.hasKey() && (a.now.Before(o.Current.Cert.NotAfter) || a.wish.TrustClock)
}

// mayMakeCA: a new CA is made unasked only where CA directory, state and any
// certificate of ours are all absent.
func (a *assessment) mayMakeCA() bool {
	if a.cfg.Issuer.Kind != config.IssuerLocal || a.misfit() != "" || a.obs.CA.Err != nil {
		return false // what could not be looked at is not absent
	}
	switch a.obs.CA.Status {
	case ca.Unfinished:
		return true
	case ca.Absent:
		return a.wish.MakeCA || a.obs.State.CA == "" && !a.obs.Loaded.Unread && a.owner != Ours
	}
	return false
}

// misfit says why a CA by this configuration could do nothing for this host, ""
// for one that could. With host.name in it, the configuration is refused itself.
func (a *assessment) misfit() string {
	switch {
	case a.name == "":
		return ""
	case strings.EqualFold(a.cfg.CA.Subject.CommonName, a.name):
		return "ca.subject.common_name is the name of this host, " + a.name + ": a CA and a host must not share one"
	case !pki.Permitted(a.cfg.CA.PermittedDomains, a.name):
		return "ca.permitted_domains leaves out this host, " + a.name + ": it could not have a certificate"
	}
	return ""
}

// obtainable says that a certificate can be asked for now. Where a CA must be
// made first, the action for it is added.
func (a *assessment) obtainable(p *Plan) bool {
	if a.name == "" {
		return false
	}
	if f, failed := a.obs.State.Failures[ObtainFailure]; failed && (a.now.Before(f.Next) && !a.wish.Once || a.obs.FailedNow[ObtainFailure]) {
		p.lookAt(f.Next, "ask the issuer again")
		p.report(Problem{Reason: NoIssuer, Severity: Error, Path: a.cfg.CA.Dir,
			Text: fmt.Sprintf("no certificate since %s (%d attempts): %s", day(f.First), f.Count, f.Error)})
		return false
	}
	if a.hasCA {
		return true
	}
	if !a.mayMakeCA() {
		return false
	}
	if !p.has(InitCA) && !p.wanted[a.makingCA().FailureKey()] {
		a.makeCA(p)
	}
	return p.has(InitCA) // it may have failed, and not be due again
}

func (a *assessment) makeCA(p *Plan) {
	r, text := CAMake, "make the private CA in "+a.cfg.CA.Dir
	if a.obs.CA.Status == ca.Unfinished {
		r, text = CAUnfinished, "finish making the private CA in "+a.cfg.CA.Dir
		p.report(Problem{Reason: r, Severity: Warning, Path: a.cfg.CA.Dir, Mended: true, Text: "an interrupted first boot left a CA key without a certificate"})
	}
	act := a.makingCA()
	act.Reason, act.Text = r, text
	p.do(act)
}

func (a *assessment) makingCA() Action { return Action{Kind: InitCA, Path: a.cfg.CA.Dir} }

// authority decides about the CA directory.
func (a *assessment) authority(p *Plan) {
	if a.cfg.Issuer.Kind != config.IssuerLocal {
		return
	}
	o := a.obs.CA
	if o.Err != nil {
		p.report(Problem{Reason: CADamaged, Severity: Error, Path: a.cfg.CA.Dir, Text: o.Err.Error(), Hint: "run as root, or mend what it says"})
		return
	}
	a.faults(p)
	if why := a.misfit(); why != "" && (o.Status == ca.Absent || o.Status == ca.Unfinished) {
		p.report(Problem{Reason: NoIssuer, Severity: Error, Path: a.cfg.Path, Text: "no CA is made: " + why, Hint: "correct mailcertd.yaml"})
		return
	}
	switch o.Status {
	case ca.Absent:
		if a.wish.MakeCA {
			a.makeCA(p)
			return
		}
		if !a.mayMakeCA() {
			p.report(Problem{Reason: CAMissing, Severity: Error, Path: a.cfg.CA.Dir,
				Text: "there was a CA and it is gone: no new one is made unasked",
				Hint: "mount or restore " + a.cfg.CA.Dir + ", or make a new CA with `mailcertd ca init`"})
		}
	case ca.Unfinished:
		a.makeCA(p)
	case ca.Damaged:
		p.report(Problem{Reason: CADamaged, Severity: Error, Path: a.cfg.CA.Dir, Mended: p.has(ReconcileCA),
			Text: "the CA cannot sign as it is", Hint: "[ca-fault] in `mailcertd check` says why; what is lost comes from a backup, what is in DER becomes PEM with openssl, and nothing is signed until then"})
	case ca.Complete:
		a.generation(p)
		a.lists(p)
		a.inbox(p)
	}
}

// leftoverSettles is how old a temporary file must be: a younger one may be another mailcertd's that is at work.
const leftoverSettles = time.Minute

// faults turns what is wrong with the database into one action.
func (a *assessment) faults(p *Plan) {
	mendable := 0
	for _, f := range a.obs.CA.Faults {
		sev := Warning
		if settles := f.Since.Add(leftoverSettles); f.Kind == ca.FaultLeftover && a.now.Before(settles) && !a.now.Before(f.Since) {
			p.lookAt(settles, "a temporary file in the CA directory is nobody's any more")
			continue
		}
		if f.Mendable {
			mendable++
		}
		if f.Kind == ca.FaultTaken {
			sev = Error // what serves cannot be revoked
		}
		text := string(f.Kind)
		switch {
		case f.Want != "" && f.Got != "":
			text += fmt.Sprintf(": want %s, got %s", f.Want, f.Got)
		case f.Want+f.Got != "":
			text += ": " + f.Want + f.Got
		}
		p.report(Problem{Reason: CAFault, Severity: sev, Path: f.Path, Text: text, Hint: f.Hint, Mended: f.Mendable})
	}
	if mendable > 0 {
		p.do(Action{Kind: ReconcileCA, Reason: CAFault, Path: a.cfg.CA.Dir,
			Text: fmt.Sprintf("mend %d fault(s) of the CA's database", mendable)})
	}
}
