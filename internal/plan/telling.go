package plan

import (
	"slices"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

const (
	// RestartPatience is how long sendmail may take from the HUP to serving: with
	// an unqualified host name it sleeps 60 s at start.
	RestartPatience = 100 * time.Second
	// GoneAfter is how long no process and no listener must be seen before a
	// sendmail that got a HUP is called gone.
	GoneAfter = 10 * time.Second
	// crashPatience is how long a HUP that was noted but not confirmed as sent
	// may still be under way after a crash of ours. A sendmail that got one stops
	// listening as soon as its main loop turns, every 5 s at the latest.
	crashPatience = 10 * time.Second
	// startWithin is how long after a HUP a sendmail that is gone may be gone by it.
	startWithin = 3 * time.Minute
)

// Telling is a sendmail that runs and whose pickup is pending. First and After say what is done about it: each instance
// gets at most one HUP, and what was done is noted in the state, so that any process can go on at any point.
type Telling struct {
	Pickup    state.Pickup
	Instance  state.Instance // what runs now
	Changed   time.Time      // when what it reads at start last changed, see LastChange
	Signalled bool           // this very process has sent it its HUP
	Now       time.Time
}

// Step is what is done next.
type Step int

// The steps.
const (
	SettledBySelf Step = iota // it was restarted by others: no pickup is pending
	AwaitNext                 // it was told a moment ago: wait for its next instance
	ProveBack                 // it came back by a HUP: look at what it serves, and give it its time
	Prove                     // it was told before: look at what it serves
	Tell                      // it gets its HUP
	Believe                   // what was seen of it stands
	Later                     // nothing now: look again
	InVain                    // it got its one HUP, and has not restarted
)

// Seen is what a look at the certificate that is served came to.
type Seen int

// What can be seen.
const (
	SeenNothing Seen = iota // no verdict
	SeenLeaf                // it serves the leaf on disk
	SeenAnother             // it serves another one
	SeenNoTLS               // it offers no STARTTLS
	SeenNotYet              // the answer is still to come
)

// First is what is done first.
func (t Telling) First() Step {
	hup, noted := t.hup()
	switch {
	case t.younger() && len(t.Pickup.HUPs) == 0:
		return SettledBySelf
	case t.younger(), !noted && len(t.Pickup.HUPs) > 0:
		return ProveBack
	case !noted:
		return Tell
	case hup.Sent && t.Signalled && t.Now.Sub(hup.At) < RestartPatience:
		return AwaitNext // our own, a moment ago
	}
	// It was signalled before, by a process of ours that did not live to see the outcome, or in vain.
	return Prove
}

// After is what is done when ProveBack or Prove has shown that.
func (t Telling) After(step Step, seen Seen) Step {
	// It has read what was there before: a cacert.pem that has been repaired since, for one.
	unread := seen == SeenAnother || t.stale() && (seen == SeenLeaf || seen == SeenNoTLS)
	if step == ProveBack {
		// It may be younger than the change by less than a start time tells, or older. It gets a HUP of its own only
		// after it was seen to be settled: two in flight can end a sendmail.
		if !t.younger() && unread {
			return Tell
		}
		return Believe
	}
	hup, _ := t.hup()
	age := t.Now.Sub(hup.At)
	switch {
	case seen == SeenNotYet:
		return Later
	case seen == SeenLeaf && t.Instance.Started.After(t.Changed):
		return Believe
	case age < crashPatience && (hup.Sent || seen != SeenAnother):
		return AwaitNext // it is restarting right now
	case !hup.Sent && seen == SeenAnother && age >= 0 && age < crashPatience:
		return Later // if it was sent, it shows its effect by then
	case !hup.Sent && unread:
		return Tell // the signal was noted and never sent
	}
	return InVain
}

// younger says that another instance runs than the one whose pickup is pending, and has started since the change.
func (t Telling) younger() bool {
	return InstanceID(t.Instance) != InstanceID(t.Pickup.Instance) && t.Instance.Started.After(t.Changed)
}

// stale says that it started before the last change, by more than a start time tells: whatever it serves, it has not
// read what is there now.
func (t Telling) stale() bool {
	return t.Changed.Sub(t.Instance.Started) > StartTells && !t.Changed.After(t.Now)
}

// hup is the one that was noted for the instance that runs.
func (t Telling) hup() (state.HUP, bool) { return HUPOf(t.Pickup, t.Instance) }

// HUPOf is the HUP that was noted for this very instance.
func HUPOf(d state.Pickup, i state.Instance) (state.HUP, bool) {
	for _, h := range slices.Backward(d.HUPs) {
		if InstanceID(h.Instance) == InstanceID(i) {
			return h, true
		}
	}
	return state.HUP{}, false
}

// Absence is a pending pickup of a sendmail of which no process with a listener is identified. First and After say what
// is done.
type Absence struct {
	Pickup   state.Pickup
	Status   mta.Status
	Askable  bool // there are addresses at which a program would listen
	Brief    bool // nobody waits, and none is started
	Starting bool // start_command is under way
	// Alive says that the process which was identified when the pickup became pending still runs. It may be the one
	// that listens: then the leaf on disk that it serves does not prove that it has read the other files.
	Alive     bool
	Boot, Now time.Time
}

// AbsentStep is what is done next about it.
type AbsentStep int

// The steps.
const (
	AskWhoListens  AbsentStep = iota // find out whether a program listens; After goes on
	CannotTell                       // whether it has picked up the files cannot be found out now: look again
	NobodyRuns                       // no pickup is pending
	NobodyListens                    // nor is one here
	WaitForStart                     // a start is under way
	WaitForSilence                   // it may still be between two lives
	WaitToKnow                       // it got its HUP a moment ago, and cannot be identified yet
	StartAgain                       // it is gone by our own HUP
	AskWhoServes                     // a program listens of whom nothing is known: look at what is served
)

// First is what is done first.
func (a Absence) First() AbsentStep {
	switch told, _ := a.told(); {
	case told && a.Status != mta.NotRunning && a.Status != mta.NoListener && !a.Askable:
		return CannotTell
	case !told && (a.Status == mta.NotRunning || a.Status == mta.NoListener):
		return NobodyRuns
	}
	return AskWhoListens
}

// After is what is done when a program listens, or nobody for so long.
func (a Absence) After(nobody bool, silent time.Duration) AbsentStep {
	told, just := a.told()
	switch {
	case told && nobody && a.Brief:
		return WaitForSilence
	case told && nobody && a.Starting:
		return WaitForStart
	case told && nobody && len(a.Pickup.Started) == 0 && silent < GoneAfter:
		return WaitForSilence
	case told && nobody:
		return StartAgain
	case !just && (a.Status == mta.NotRunning || a.Status == mta.NoListener):
		return NobodyRuns
	case nobody:
		return NobodyListens
	case a.Alive && just:
		return WaitToKnow
	case a.Alive:
		return CannotTell
	}
	return AskWhoServes
}

// told says that it may be gone by our own HUP: where it had come back since, or the HUP was before the boot, a person
// stopped it. just says that this was a moment ago, so that it may be between two lives.
func (a Absence) told() (told, just bool) {
	n := len(a.Pickup.HUPs) - 1
	if n < 0 || !a.Pickup.HUPs[n].Sent {
		return false, false
	}
	last := a.Pickup.HUPs[n]
	age := a.Now.Sub(last.At)
	told = !last.Back && !last.At.Before(a.Boot) && (age >= 0 && age < startWithin || len(a.Pickup.Started) > 0)
	return told, told && age < startWithin
}

// Unsent says that a crash came between the note of a HUP to the sendmail that runs and the HUP, or a moment after, and
// that it does not show yet whether it was sent.
func (t Telling) Unsent() bool {
	hup, noted := t.hup()
	age := t.Now.Sub(hup.At)
	return noted && !hup.Sent && age >= 0 && age < crashPatience
}
