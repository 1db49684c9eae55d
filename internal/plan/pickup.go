package plan

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

// cf is the sendmail.cf that counts: the running sendmail's own, else the
// configured one.
func (a *assessment) cf() mta.CF {
	if a.obs.RunningCF != nil {
		return *a.obs.RunningCF
	}
	return a.obs.CF
}

// cfNamesOurs says that sendmail reads our files at start. Paths in a
// sendmail.cf are real: below --root nobody reads ours unless it names them so.
func (a *assessment) cfNamesOurs() bool {
	return NamesOurs(a.cf(), a.obs.Certs)
}

// NamesOurs says that cf names host.cert of this certs directory, by its own
// path or through links.
func NamesOurs(cf mta.CF, d certdir.Dir) bool {
	for _, name := range cf.ServerCert {
		if leadsTo(cf, name, d, certdir.CertName) {
			return true
		}
	}
	return false
}

// LastChange is when what sendmail reads at start last changed on the disk.
func LastChange(d certdir.Dir) time.Time {
	var last time.Time
	for _, t := range []time.Time{d.Cert.Node.Changed, d.Key.Node.Changed, d.CA.Node.Changed, d.DH.Node.Changed, d.CRL.Node.Changed} {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// InstanceID names one run of sendmail: its pid and its pid file.
func InstanceID(i state.Instance) string {
	if i.PID == 0 {
		return ""
	}
	return fmt.Sprintf("%d@%s", i.PID, i.PIDFileID)
}

// Running says that a sendmail with a listener runs, whether or not it would
// survive a HUP.
func Running(id mta.Identity) bool { return id.Status.Serving() }

// MayRun says that a sendmail may be serving: one that is identified, or one
// that cannot be told, because the pid file or the process in it makes no
// sense. Whether somebody listens is then found out by asking.
func MayRun(id mta.Identity) bool {
	return id.Status != mta.NotRunning && id.Status != mta.NoListener
}

// pickup decides whether a running sendmail owes it to us to read what lies on
// the disk. The debt itself is worked off by deliver.
func (a *assessment) pickup(p *Plan) {
	a.notifyOwed(p)
	a.notifyProblems(p)
	if !a.cfNamesOurs() {
		p.State.Debt = nil
		return
	}
	a.sendmailProblems(p)
	if p.has(Install) || p.has(Obtain) || p.has(Chmod) || p.has(Chown) {
		return // it changes in a moment; the next look decides
	}
	set, leaf := SetID(a.obs.Certs), LeafID(a.leaf)
	if d := p.State.Debt; d != nil && a.settled(d) {
		p.State.Debt = nil
		p.State.Delivered = state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater, Instance: InstanceID(Instance(a.obs.MTA))}
		return
	}
	if d := p.State.Debt; d != nil {
		if d.Set != set { // the files have changed since: what is on the disk now is owed
			nd := *d
			nd.Set, nd.Leaf = set, leaf
			p.State.Debt = &nd
		}
		a.owed(p)
		return
	}
	if !a.works() {
		return // nothing that could be picked up
	}
	if e := a.obs.Certs.Cert; e.File.Behind != nil {
		if until, now := a.writtenNow(e.Node); now { // the first certificate has come, and the rest of the copy has not
			a.leaveAlone(p, until, e.Node)
			return
		}
	}
	done := p.State.Delivered
	inst := Instance(a.obs.MTA)
	switch {
	case !MayRun(a.obs.MTA):
		if done.Set != set || done.Instance != "" {
			p.State.Delivered = state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: NoneRunning}
		}
	case done.Set == set && done.Instance == InstanceID(inst):
		// proven, or seen before
	case done.Set == set && done.How == NoneRunning && done.Instance == "",
		inst.Started.After(LastChange(a.obs.Certs)):
		p.State.Delivered = state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater, Instance: InstanceID(inst)}
	default:
		p.State.Debt = &state.Debt{Set: set, Leaf: leaf, Since: a.stamp(), Instance: inst, WasUp: true}
		a.owed(p)
	}
}

// settled says that the running instance itself shows that nothing is owed: it
// started after the last change, and is neither one that was told nor one that is
// being proven or has failed that. sendmail reads the files when it starts.
func (a *assessment) settled(d *state.Debt) bool {
	inst := Instance(a.obs.MTA)
	id := InstanceID(inst)
	if !Running(a.obs.MTA) || id == InstanceID(d.Instance) || id == d.Failed || !inst.Started.After(LastChange(a.obs.Certs)) {
		return false
	}
	for _, h := range d.HUPs {
		if id == InstanceID(h.Instance) {
			return false
		}
	}
	left := d.Proving.Sub(a.now) // a clock that was set back must not make it endless
	return len(d.HUPs) == 0 || (d.Attempts > 0 || !d.Proving.IsZero()) && (left <= 0 || left > mta.Patience)
}

// notifyOwed: each configured command is told of every set, whoever made it. A
// set that is the first one known is recorded and nothing more: nobody knows
// that it is new.
func (a *assessment) notifyOwed(p *Plan) {
	if !a.works() || p.has(Install) || p.has(Obtain) {
		return
	}
	set, told := SetID(a.obs.Certs), map[string]string{}
	for _, argv := range a.cfg.Notify {
		line := strings.Join(argv, " ")
		last, known := p.State.Notified[line]
		if d := p.State.Notify[line]; d != nil {
			if d.Set != set { // it has changed again meanwhile
				nd := *d
				nd.Set = set
				p.State.Notify[line] = &nd
			}
		} else if known && last != set {
			if p.State.Notify == nil {
				p.State.Notify = map[string]*state.NotifyDebt{}
			}
			p.State.Notify[line] = &state.NotifyDebt{Set: set}
		} else if !known {
			last = set
		}
		if last != "" {
			told[line] = last
		}
	}
	p.State.Notified = told
}

// notifyProblems reports configured commands that have failed.
func (a *assessment) notifyProblems(p *Plan) {
	for line, d := range p.State.Notify {
		if d.Attempts == 0 {
			continue
		}
		p.report(Problem{Reason: NotifyOwed, Severity: Error, Path: a.cfg.Path,
			Text: fmt.Sprintf("notify: %q has failed %d time(s), the last: %s", line, d.Attempts, d.LastError),
			Hint: "mailcertd retries; it must exit with 0"})
		p.lookAt(d.Next, "a notify command is tried again")
	}
}

// How a set came to be in use.
const (
	Proven       = "proven"        // the served certificate was seen
	StartedLater = "started-later" // sendmail started after the change
	NoneRunning  = "none-running"  // no sendmail ran at the change
	Unproven     = "not-probed"    // restarted, and sendmail.probe is none
)

// Instance is the identified sendmail as it is remembered.
func Instance(id mta.Identity) state.Instance { return state.Instance(id.Instance) }

func (a *assessment) stamp() time.Time { return a.now.UTC().Truncate(time.Second) }

// provingEvery is how often a pickup is looked at while it is being proven.
const provingEvery = 10 * time.Second

func (a *assessment) owed(p *Plan) {
	d := p.State.Debt
	text := "sendmail (pid " + fmt.Sprint(d.Instance.PID) + ") has not yet taken over the files, since " + day(d.Since)
	sev := Warning
	if d.Unseen {
		text = "sendmail was started anew after the change, but what it serves cannot be seen from here: " + d.LastError
	} else if d.Attempts > 0 {
		sev = Error
		text += fmt.Sprintf("; %d attempt(s), the last: %s", d.Attempts, d.LastError)
	}
	p.report(Problem{Reason: SendmailOwed, Severity: sev, Path: a.cf().Path, Text: text,
		Hint: "mailcertd retries; `service sendmail restart` settles it"})
	next := d.Next
	if next.IsZero() {
		next = a.now
	}
	if d.Proving.After(a.now) && d.Proving.Sub(a.now) <= mta.Patience { // whoever waits for it looks sooner
		next = a.now.Add(provingEvery)
	}
	p.lookAt(next, "sendmail is told")
}

// sendmailProblems reports what is wrong with the running sendmail, and files
// that it would refuse although nothing here mends them.
func (a *assessment) sendmailProblems(p *Plan) {
	id := a.obs.MTA
	switch {
	case id.Status == mta.NotRunning:
		p.report(Problem{Reason: SendmailDown, Severity: Notice, Text: "no sendmail runs; it reads the files when it starts"})
	case id.Status != mta.OK:
		sev := Warning
		if p.State.Debt != nil {
			sev = Error
		}
		p.report(Problem{Reason: SendmailUnsafe, Severity: sev, Path: id.PidFile, Text: id.Detail, Hint: id.Hint})
	}
}

// refused reports what sendmail would refuse and no action of this plan mends.
func (a *assessment) refused(p *Plan) {
	if p.has(Install) || p.has(Obtain) || p.has(Chmod) || p.has(Chown) {
		return
	}
	for _, c := range a.verdict.Complaints {
		if c.Mend.Kind != mta.MendNone {
			continue // reported with its mending
		}
		sev := Warning
		if c.Fatal {
			sev = Error
		}
		p.report(Problem{Reason: Refused, Severity: sev, Path: c.Path, Text: c.Text})
	}
}
