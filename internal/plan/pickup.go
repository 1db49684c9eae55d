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

// LastChange is the latest change on disk of a file that sendmail reads when it starts.
func LastChange(d certdir.Dir) time.Time {
	var last time.Time
	for _, f := range certdir.Files() {
		if n, _ := d.File(f.Name); f.ReadAtStart() && n.Changed.After(last) {
			last = n.Changed
		}
	}
	return last
}

// InstanceID identifies one run of sendmail by its pid and its pid file.
func InstanceID(i state.Instance) string {
	if i.PID == 0 {
		return ""
	}
	return fmt.Sprintf("%d@%s", i.PID, i.PIDFileID)
}

// Running reports whether a sendmail with a listener runs, also one that a HUP would end.
func Running(id mta.Identity) bool { return id.Status.Serving() }

// MayRun reports whether a sendmail may be serving: it is identified, or the pid file or its process is not as
// expected. A connection then shows whether a program listens.
func MayRun(id mta.Identity) bool {
	return id.Status != mta.NotRunning && id.Status != mta.NoListener
}

// handover is what the state remembers of how sendmail, and the notify commands, came to use a set.
type handover struct {
	Pickup   *state.Pickup
	PickedUp state.PickedUp
	Notify   map[string]*state.NotifyPending
	Notified map[string]string
}

// pickup decides whether a running sendmail must read the files on disk again. The package pickup tells sendmail.
func pickup(a *assessment, sofar finding) (found finding, out handover) {
	out.Pickup, out.PickedUp = a.obs.State.Pickup, a.obs.State.PickedUp
	out.Notify, out.Notified = notified(a, sofar)
	found = notifyProblems(a, out.Notify)
	if !a.cfNamesOurs() {
		out.Pickup = nil
		return found, out
	}
	found = found.and(sendmailProblems(a))
	if a.doing(sofar, Install, Obtain, Chmod, Chown) {
		return found, out // the files are about to change; the next look decides
	}
	if out.Pickup != nil {
		seen := false
		if out.Pickup, out.PickedUp, seen = settle(a, *out.Pickup); seen {
			return found, out
		}
	}
	if out.Pickup == nil && a.works() {
		if e := a.host.certFile; e.File.Behind != nil {
			// A person has copied one file and may still be copying the others.
			if until, now := a.writtenNow(e.Node); now {
				return found.and(leaveAlone(until, e.Node)), out
			}
		}
		out.Pickup, out.PickedUp = newlyPending(a)
	}
	if out.Pickup != nil {
		found = found.and(pending(a, *out.Pickup))
	}
	return found, out
}

// settle returns what remains of a pending pickup, and the set that sendmail was last seen to use. seen says that the
// running sendmail shows the pickup to be complete.
func settle(a *assessment, d state.Pickup) (left *state.Pickup, done state.PickedUp, seen bool) {
	set, leaf, done := SetID(a.obs.Certs), pki.Fingerprint(a.host.leaf), a.obs.State.PickedUp
	switch {
	case len(d.HUPs) == 0 && !MayRun(a.obs.MTA): // a person stopped sendmail
		return nil, state.PickedUp{Set: set, Leaf: leaf, At: a.stamp(), How: NoneRunning}, true
	case settled(a, &d):
		return nil, state.PickedUp{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater,
			Instance: InstanceID(Instance(a.obs.MTA))}, true
	case d.Set != set && len(d.HUPs) == 0 && pickedUp(a, set): // a crash prevented the change for which it was pending
		return nil, done, false
	case d.Set != set: // the files have changed since: the pickup of what is on the disk now is pending
		d.Set, d.Leaf = set, leaf
	}
	return &d, done, false
}

// newlyPending starts a pickup where sendmail may not use the set on disk, and returns the set that it was last seen to
// use.
func newlyPending(a *assessment) (*state.Pickup, state.PickedUp) {
	set, leaf, done, inst := SetID(a.obs.Certs), pki.Fingerprint(a.host.leaf), a.obs.State.PickedUp,
		Instance(a.obs.MTA)
	changed := LastChange(a.obs.Certs)
	switch {
	case !MayRun(a.obs.MTA):
		if done.Set != set || done.Instance != "" {
			done = state.PickedUp{Set: set, Leaf: leaf, At: a.stamp(), How: NoneRunning}
		}
	case done.Set == set && done.Instance == InstanceID(inst): // proven, or seen before
	case done.Set == set && done.How == NoneRunning && done.Instance == "" &&
		!inst.Started.Before(changed.Add(-StartTells)),
		inst.Started.After(changed):
		done = state.PickedUp{Set: set, Leaf: leaf, At: a.stamp(), How: StartedLater, Instance: InstanceID(inst)}
	default:
		return &state.Pickup{Set: set, Leaf: leaf, Since: a.stamp(), Instance: inst, WasUp: true}, done
	}
	return nil, done
}

// pickedUp reports whether the running sendmail was seen to use this set.
func pickedUp(a *assessment, set string) bool {
	done, id := a.obs.State.PickedUp, InstanceID(Instance(a.obs.MTA))
	return done.Set == set && id != "" && done.Instance == id
}

// settled reports whether the running instance shows by itself that no pickup is pending: it started after the last
// change, and is not one that got a HUP, that is being proven or that failed its proof. sendmail reads the files when
// it starts.
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
	left := d.Proving.Sub(a.now) // a clock that was set back must not prolong the proof
	return len(d.HUPs) == 0 || (d.Attempts > 0 || !d.Proving.IsZero()) && (left <= 0 || left > mta.Patience)
}

// notified returns the notify commands to run, and the last set that each was told of. Each command is told of every
// set. The first set that mailcertd sees is noted without running the command, because it may be old.
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
		// A crash prevented the change for which it was pending.
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
		if d.Runs(a.now) { // the process that started it notes the outcome, unless a crash ends that process
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

// StartTells is by how much a process must be older than a change to be sure that it has not seen it: start times are
// exact to the second on FreeBSD, and on Linux are counted from a boot time in seconds.
const StartTells = 2 * time.Second

// How a set came to be in use.
const (
	Proven       = "proven"        // the served certificate was seen
	StartedLater = "started-later" // sendmail started after the change
	NoneRunning  = "none-running"  // no sendmail ran at the change
	Unproven     = "not-probed"    // restarted, and sendmail.probe is none
)

// Instance converts the identified sendmail to the form that the state keeps.
func Instance(id mta.Identity) state.Instance { return state.Instance(id.Instance) }

// brokenEvery is how often a pending pickup is looked at while sendmail would refuse the files on disk.
const brokenEvery = time.Minute

// provingEvery is how often a pickup is looked at while it is being proven.
const provingEvery = 10 * time.Second

// pending reports a set that a running sendmail has not yet picked up.
func pending(a *assessment, d state.Pickup) (found finding) {
	text := "sendmail (pid " + fmt.Sprint(d.Instance.PID) + ") has not picked up the files since " + moment(d.Since)
	sev := Warning
	proving := d.Proving.After(a.now) && d.Proving.Sub(a.now) <= mta.Patience
	if proving { // an earlier failure is not reported during the next attempt
		text += "; it got a SIGHUP, and mailcertd waits until it serves them"
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
	if !a.works() && next.Before(a.now.Add(brokenEvery)) { // no HUP is sent while the files do not work
		next = a.now.Add(brokenEvery)
	}
	if proving { // the process that waits for the proof looks sooner
		next = a.now.Add(provingEvery)
	}
	found.lookAt(next, "mailcertd sends sendmail a SIGHUP, or asks which certificate it serves")
	return found
}

// sendmailProblems reports what is wrong with the running sendmail, and files that it would refuse and that no action
// repairs.
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

// refused reports files that sendmail would refuse and that no action of this plan repairs.
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
		if c.Of == mta.SecondServer && !c.Fatal && a.pair(certdir.HostECDSA).placeholder() {
			continue // its first key waits, which TLSAChange tells
		}
		sev := Warning
		if c.Fatal {
			sev = Error
		}
		hint := ""
		if p := a.pair(certdir.HostECDSA); c.Of == mta.SecondServer && twin(p) {
			hint = twinHint(p)
		}
		found.report(Problem{Reason: Refused, Severity: sev, Path: c.Path, Text: c.Text, Hint: hint})
	}
	return found
}

// featureHint says how sendmail hides STARTTLS from a client by its address.
const featureHint = "if sendmail offers STARTTLS to other hosts, its access map hides it from this host (an entry " +
	"such " +
	"as Srv_Features:127.0.0.1 with S) or rejects this host (Connect:127.0.0.1)"

// NotOffered says why a listening sendmail may offer no STARTTLS, as far as this host's files show it.
func NotOffered(obs Observed, f Facts) string {
	changed := LastChange(obs.Certs)
	if !refuses(f) && Running(obs.MTA) && !Instance(obs.MTA).Started.After(changed) {
		return "it was started before the files changed: run `service sendmail restart`"
	}
	return NotOfferedAnew(f)
}

// NotOfferedAnew says the same of an instance that has read the current files.
func NotOfferedAnew(f Facts) string {
	for _, c := range f.Verdict.Complaints {
		if c.Fatal && refuses(f) {
			return fmt.Sprintf("sendmail refuses %s (%s)", c.Path, c.Text)
		}
	}
	return featureHint + "; otherwise sendmail's own log has the reason (STARTTLS=server)"
}

// refuses reports whether sendmail would offer no STARTTLS with its files.
func refuses(f Facts) bool { return f.NamesOurs && !f.Offered }
