package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// UsedCF is the sendmail.cf that counts: the running sendmail's own, else the
// configured one.
func (o Observed) UsedCF() mta.CF {
	if o.RunningCF != nil {
		return *o.RunningCF
	}
	return o.CF
}

func (a *assessment) cf() mta.CF { return a.obs.UsedCF() }

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
	for _, f := range certdir.Files() {
		if n, _ := d.File(f.Name); f.ReadAtStart() && n.Changed.After(last) {
			last = n.Changed
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

// MayRun says that a sendmail may be serving: one that is identified, or one that is not known, because the pid file or
// the process in it makes no sense. Whether a program listens is then found out by asking.
func MayRun(id mta.Identity) bool {
	return id.Status != mta.NotRunning && id.Status != mta.NoListener
}

// handover is what is remembered of how sendmail and others got to know a set.
type handover struct {
	Pickup    *state.Pickup
	Delivered state.Delivered
	Notify    map[string]*state.NotifyPending
	Notified  map[string]string
}

// pickup decides whether a running sendmail has to read the files on the disk again. The package pickup sees to it that
// it does.
func pickup(a *assessment, sofar finding) (found finding, out handover) {
	out.Pickup, out.Delivered = a.obs.State.Pickup, a.obs.State.Delivered
	out.Notify, out.Notified = notified(a, sofar)
	found = notifyProblems(a, out.Notify)
	if !a.cfNamesOurs() {
		out.Pickup = nil
		return found, out
	}
	found = found.and(sendmailProblems(a))
	if a.doing(sofar, Install, Obtain, Chmod, Chown) {
		return found, out // it changes in a moment; the next look decides
	}
	if out.Pickup != nil {
		seen := false
		if out.Pickup, out.Delivered, seen = settle(a, *out.Pickup); seen {
			return found, out
		}
	}
	if out.Pickup == nil && a.works() {
		if e := a.host.certFile; e.File.Behind != nil {
			// the first certificate has come, and the rest of the copy has not
			if until, now := a.writtenNow(e.Node); now {
				return found.and(leaveAlone(until, e.Node)), out
			}
		}
		out.Pickup, out.Delivered = newlyPending(a)
	}
	if out.Pickup != nil {
		found = found.and(pending(a, *out.Pickup))
	}
	return found, out
}

// settle is what is left of a pending pickup, and what sendmail was last seen to use, by what runs now. seen says that
// this settles it.
func settle(a *assessment, d state.Pickup) (left *state.Pickup, done state.Delivered, seen bool) {
	set, leaf, done := SetID(a.obs.Certs), pki.Fingerprint(a.host.leaf), a.obs.State.Delivered
	switch {
	case len(d.HUPs) == 0 && !MayRun(a.obs.MTA): // a person stopped it
		return nil, state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: NoneRunning}, true
	case settled(a, &d):
		return nil, state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater,
			Instance: InstanceID(Instance(a.obs.MTA))}, true
	case d.Set != set && len(d.HUPs) == 0 && delivered(a, set): // it was noted for a change that a crash kept out
		return nil, done, false
	case d.Set != set: // the files have changed since: the pickup of what is on the disk now is pending
		d.Set, d.Leaf = set, leaf
	}
	return &d, done, false
}

// newlyPending is the pickup that becomes pending where none was, and the set that sendmail was last seen to use.
func newlyPending(a *assessment) (*state.Pickup, state.Delivered) {
	set, leaf, done, inst := SetID(a.obs.Certs), pki.Fingerprint(a.host.leaf), a.obs.State.Delivered,
		Instance(a.obs.MTA)
	changed := LastChange(a.obs.Certs)
	switch {
	case !MayRun(a.obs.MTA):
		if done.Set != set || done.Instance != "" {
			done = state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: NoneRunning}
		}
	case done.Set == set && done.Instance == InstanceID(inst): // proven, or seen before
	case done.Set == set && done.How == NoneRunning && done.Instance == "" &&
		!inst.Started.Before(changed.Add(-StartTells)),
		inst.Started.After(changed):
		done = state.Delivered{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater, Instance: InstanceID(inst)}
	default:
		return &state.Pickup{Set: set, Leaf: leaf, Since: a.stamp(), Instance: inst, WasUp: true}, done
	}
	return nil, done
}

// delivered says that the sendmail that runs now was seen to use this very set.
func delivered(a *assessment, set string) bool {
	done, id := a.obs.State.Delivered, InstanceID(Instance(a.obs.MTA))
	return done.Set == set && id != "" && done.Instance == id
}

// settled says that the running instance itself shows that no pickup is pending: it
// started after the last change, and is neither one that was told nor one that is
// being proven or has failed that. sendmail reads the files when it starts.
func settled(a *assessment, d *state.Pickup) bool {
	inst := Instance(a.obs.MTA)
	id := InstanceID(inst)
	if !Running(a.obs.MTA) || id == InstanceID(d.Instance) || id == d.Failed ||
		!inst.Started.After(LastChange(a.obs.Certs)) {
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

// notified are the configured commands that have to run, and the set that each was told of last: each is told of every
// set, whoever made it. A set that is the first one known is recorded and nothing more: nobody knows that it is new.
func notified(a *assessment, sofar finding) (pending map[string]*state.NotifyPending, told map[string]string) {
	pending, told = maps.Clone(a.obs.State.Notify), a.obs.State.Notified
	if !a.works() || a.doing(sofar, Install, Obtain) {
		return pending, told
	}
	if pending == nil {
		pending = map[string]*state.NotifyPending{}
	}
	set, before := SetID(a.obs.Certs), told
	told = map[string]string{}
	for _, argv := range a.cfg.Notify {
		line := strings.Join(argv, " ")
		last, known := before[line]
		switch d := pending[line]; {
		// it was noted for a change that a crash kept out
		case d != nil && d.Set != set && d.Attempts == 0 && last == set:
			delete(pending, line)
		case d != nil && d.Set != set: // it has changed again meanwhile
			nd := *d
			nd.Set = set
			pending[line] = &nd
		case d != nil:
		case known && last != set:
			pending[line] = &state.NotifyPending{Set: set}
		case !known:
			last = set
		}
		if last != "" {
			told[line] = last
		}
	}
	return pending, told
}

// notifyProblems reports configured commands that have failed.
func notifyProblems(a *assessment, pending map[string]*state.NotifyPending) (found finding) {
	for _, line := range slices.Sorted(maps.Keys(pending)) {
		d := pending[line]
		if d.Runs(a.now) { // whoever has started it takes its outcome in, unless a crash ends that
			found.lookAt(d.Running, "an interrupted notify command is run again")
		}
		if d.Attempts == 0 {
			continue
		}
		found.report(Problem{Reason: NotifyPending, Severity: Error, Path: a.cfg.Path,
			Text: fmt.Sprintf("notify: %q has failed %s, the last: %s", line, counted(d.Attempts, "time"), d.LastError),
			Hint: "mailcertd runs it again until it exits with 0; run it by hand to see the error"})
		found.lookAt(d.Next, "a notify command is tried again")
	}
	return found
}

// StartTells is how much older than a change a start time must be to say that the process has not seen it: Linux
// tells it in ticks since a boot that is known to the second, FreeBSD in seconds.
const StartTells = 2 * time.Second

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

// brokenEvery is how often a pickup is looked at while the files are such that sendmail would refuse them.
const brokenEvery = time.Minute

// provingEvery is how often a pickup is looked at while it is being proven.
const provingEvery = 10 * time.Second

// pending reports a set that a running sendmail has not yet picked up.
func pending(a *assessment, d state.Pickup) (found finding) {
	text := "sendmail (pid " + fmt.Sprint(d.Instance.PID) + ") has not picked up the files since " + day(d.Since)
	sev := Warning
	proving := d.Proving.After(a.now) && d.Proving.Sub(a.now) <= mta.Patience
	if proving { // what failed before is no news while the next attempt is under way
		text += "; it was told, and mailcertd waits until it serves them"
	} else if d.Unseen {
		text = "sendmail was started after the change, but mailcertd cannot see which certificate it serves: " +
			d.LastError
	} else if d.Attempts > 0 {
		sev = Error
		text += fmt.Sprintf("; %s, the last: %s", counted(d.Attempts, "attempt"), d.LastError)
	}
	found.report(Problem{Reason: PickupPending, Severity: sev, Path: a.cf().Path, Text: text,
		Hint: "mailcertd tries again; if this stays, run `service sendmail restart`"})
	next := d.Next
	if next.IsZero() {
		next = a.now
	}
	if !a.works() && next.Before(a.now.Add(brokenEvery)) { // no HUP is sent until it does
		next = a.now.Add(brokenEvery)
	}
	if proving { // whoever waits for it looks sooner
		next = a.now.Add(provingEvery)
	}
	found.lookAt(next, "sendmail gets a SIGHUP or is asked what it serves")
	return found
}

// sendmailProblems reports what is wrong with the running sendmail, and files that it would refuse although nothing
// here repairs them.
func sendmailProblems(a *assessment) (found finding) {
	id := a.obs.MTA
	switch {
	case id.Status == mta.NotRunning:
		found.report(Problem{Reason: SendmailDown, Severity: Notice,
			Text: "no sendmail runs; it reads the files when it starts"})
	case id.Status != mta.OK:
		sev := Warning
		if a.obs.State.Pickup != nil {
			sev = Error
		}
		found.report(Problem{Reason: SendmailUnsafe, Severity: sev, Path: id.PidFile, Text: id.Detail, Hint: id.Hint})
	}
	return found
}

// refused reports what sendmail would refuse and no action of this plan repairs.
func refused(a *assessment, sofar finding) (found finding) {
	if a.doing(sofar, Install, Obtain, Chmod, Chown) {
		return found
	}
	for _, c := range a.verdict.Complaints {
		if c.Mend.Kind != mta.MendNone {
			continue // reported with its repair
		}
		if c.Path == a.obs.CF.Path {
			continue // cfProblems tells it
		}
		sev := Warning
		if c.Fatal {
			sev = Error
		}
		found.report(Problem{Reason: Refused, Severity: sev, Path: c.Path, Text: c.Text})
	}
	return found
}

// featureHint is what hides STARTTLS from a client by its address.
const featureHint = "if others are offered it, sendmail's access map hides it from this host (an entry such as " +
	"Srv_Features:127.0.0.1 with S) or rejects it (Connect:127.0.0.1)"

// NotOffered says why a sendmail that listens may offer no STARTTLS, as far as it is
// known from here.
func NotOffered(obs Observed, f Facts) string {
	changed := LastChange(obs.Certs)
	if !refuses(f) && Running(obs.MTA) && !Instance(obs.MTA).Started.After(changed) {
		return "it was started before the files changed: run `service sendmail restart`"
	}
	return NotOfferedAnew(f)
}

// NotOfferedAnew is the same of an instance that has read what is there now.
func NotOfferedAnew(f Facts) string {
	for _, c := range f.Verdict.Complaints {
		if c.Fatal && refuses(f) {
			return fmt.Sprintf("sendmail refuses %s (%s)", c.Path, c.Text)
		}
	}
	return featureHint + "; else its own log says why (STARTTLS=server)"
}

// refuses says that sendmail would not offer STARTTLS with the files that it is given.
func refuses(f Facts) bool { return f.NamesOurs && !f.Offered }
