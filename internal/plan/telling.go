package plan

import (
	"slices"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

const (
	// RestartPatience is how long sendmail may take from the HUP until it serves again: with an unqualified host name
	// it sleeps 60 s when it starts.
	RestartPatience = 100 * time.Second
	// GoneAfter is how long neither a process nor a listener must be seen before a sendmail that got a HUP counts as
	// ended.
	GoneAfter = 10 * time.Second
	// crashPatience is how long to wait for the effect of a HUP. After a crash of mailcertd it is not known whether a
	// HUP that was noted was sent; a sendmail that got one stops listening within 5 s, the period of its main loop.
	crashPatience = 10 * time.Second
	// startWithin is how long after its HUP the end of a sendmail is attributed to that HUP.
	startWithin = 3 * time.Minute
)

// Telling describes a running sendmail whose pickup is pending. First and After decide the next step. Each instance
// gets at most one HUP, and every step is noted in the state, so that another mailcertd process can continue at any
// point.
type Telling struct {
	Pickup    state.Pickup
	Instance  state.Instance // the running instance
	Changed   time.Time      // when a file that sendmail reads at its start last changed, see LastChange
	Signalled bool           // this mailcertd process has sent the HUP itself
	Now       time.Time
}

// Step is the next step of a pickup.
type Step int

// The steps.
const (
	SettledBySelf Step = iota // somebody else restarted sendmail: the pickup is done
	AwaitNext                 // the HUP was sent a moment ago: wait for the next instance
	ProveBack                 // a new instance runs after a HUP: wait until it serves, then see which certificate
	Prove                     // this instance got its HUP earlier: see which certificate it serves
	Tell                      // send the HUP
	Believe                   // the result of the probe is the result of the pickup
	Later                     // do nothing now and look again
	InVain                    // this instance got its one HUP and has not restarted
)

// Seen is the result of a probe of the served certificate.
type Seen int

// The results of a probe.
const (
	SeenNothing Seen = iota // the probe could not find out
	SeenLeaf                // sendmail serves the leaf on disk
	SeenAnother             // sendmail serves another leaf
	SeenNoTLS               // sendmail offers no STARTTLS
	SeenNotYet              // the probe has not ended yet
)

// First decides the first step.
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
		return AwaitNext
	}
	// An earlier mailcertd process sent this HUP and ended before it saw the effect, or the HUP had no effect.
	return Prove
}

// After decides the step that follows ProveBack or Prove, by the result of the probe.
func (t Telling) After(step Step, seen Seen) Step {
	// unread: the running instance has read older files. The served leaf alone does not show it where another file
	// changed, for example cacert.pem.
	unread := seen == SeenAnother || t.stale() && (seen == SeenLeaf || seen == SeenNoTLS)
	if step == ProveBack {
		// The instance may have started just before or just after the change; start times are not exact enough to say.
		// It gets a HUP only after it has answered a probe, because a second HUP during its start can end a sendmail.
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
		return AwaitNext // the restart takes a moment
	case !hup.Sent && seen == SeenAnother && age >= 0 && age < crashPatience:
		return Later // if the HUP was sent, its effect shows within crashPatience
	case !hup.Sent && unread:
		return Tell // the HUP was noted and never sent
	}
	return InVain
}

// younger reports whether the running instance is another one than that whose pickup is pending, and started after the
// change.
func (t Telling) younger() bool {
	return InstanceID(t.Instance) != InstanceID(t.Pickup.Instance) && t.Instance.Started.After(t.Changed)
}

// stale reports whether the running instance started before the last change, by more than the inexactness of start
// times. Then it has not read the present files, whatever it serves.
func (t Telling) stale() bool {
	return t.Changed.Sub(t.Instance.Started) > StartTells && !t.Changed.After(t.Now)
}

// hup returns the HUP that was noted for the running instance.
func (t Telling) hup() (state.HUP, bool) { return HUPOf(t.Pickup, t.Instance) }

// HUPOf returns the HUP that was noted for an instance.
func HUPOf(d state.Pickup, i state.Instance) (state.HUP, bool) {
	for _, h := range slices.Backward(d.HUPs) {
		if InstanceID(h.Instance) == InstanceID(i) {
			return h, true
		}
	}
	return state.HUP{}, false
}

// Absence describes a pending pickup where no sendmail process with a listener can be identified. First and After
// decide the next step.
type Absence struct {
	Pickup   state.Pickup
	Status   mta.Status
	Askable  bool // the addresses on which sendmail would listen are known, so a probe is possible
	Brief    bool // a verb such as `ensure`, which neither waits nor starts a sendmail
	Starting bool // start_command is running
	// Alive reports whether the process that was identified when the pickup became pending still runs. It may be the
	// listener. Then it may have read the old files, even if it serves the leaf on disk.
	Alive     bool
	Boot, Now time.Time
}

// AbsentStep is the next step about an Absence.
type AbsentStep int

// The steps.
const (
	AskWhoListens  AbsentStep = iota // find out whether a program listens; After decides by the answer
	CannotTell                       // it cannot be found out now whether sendmail has read the files: look again
	NobodyRuns                       // no sendmail runs, so no pickup is pending
	NobodyListens                    // no program listens, so no pickup is pending
	WaitForStart                     // start_command is running: wait for it
	WaitForSilence                   // sendmail may be restarting: wait until it is certain that it has ended
	WaitToKnow                       // sendmail got its HUP a moment ago and cannot be identified yet: wait
	StartAgain                       // sendmail ended after our HUP: run start_command
	AskWhoServes                     // an unidentified program listens: see which certificate it serves
)

// First decides the first step.
func (a Absence) First() AbsentStep {
	switch told, _ := a.told(); {
	case told && a.Status != mta.NotRunning && a.Status != mta.NoListener && !a.Askable:
		return CannotTell
	case !told && (a.Status == mta.NotRunning || a.Status == mta.NoListener):
		return NobodyRuns
	}
	return AskWhoListens
}

// After decides the step after AskWhoListens. nobody: no program listens, and none has for the time silent.
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

// told reports whether our own HUP may have ended sendmail. Where sendmail came back after that HUP, or the HUP was
// before the boot, a person stopped it. just reports whether the HUP was so recent that sendmail may be restarting.
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

// Unsent reports whether a HUP was noted for the running sendmail and it is not known yet whether it was sent, because
// mailcertd ended unexpectedly at that moment.
func (t Telling) Unsent() bool {
	hup, noted := t.hup()
	age := t.Now.Sub(hup.At)
	return noted && !hup.Sent && age >= 0 && age < crashPatience
}
