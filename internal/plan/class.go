package plan

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/state"
)

// Class is what a failure of an action may hold up.
type Class int

// The classes. Essential actions bring back, renew and deliver what sendmail serves; their failure stops what needs
// them. All else is a chore, done after them, whose failure stops nothing.
const (
	Chore Class = iota
	Essential
)

func (c Class) String() string { return [...]string{"chore", "essential"}[c] }

// classes is the class of each kind of action, and the order in which a plan has them.
var classes = []struct {
	kind  Kind
	class Class
}{
	{Recover, Essential},
	{MakeDir, Essential},
	{Chmod, Essential},
	{Chown, Essential},
	{InitCA, Essential},
	{AcceptCA, Essential},
	{StageKey, Essential},
	{Obtain, Essential},
	{Install, Essential},
	{ReconcileCA, Chore}, // whatever signs mends what it needs by itself
	{NextCA, Chore},
	{PromoteCA, Chore},
	{PruneCA, Chore},
	{WriteCRL, Chore},
	{MakeInbox, Chore},
	{Answer, Chore},
	{Unstage, Chore},
	{PruneArchive, Chore},
	{DeleteOldKey, Chore},
}

// Class is the class of the action.
func (a Action) Class() Class {
	if a.Extra || a.Reason == ModeLoose {
		return Chore // such as files in trust/, or the mode of a directory that sendmail does not read
	}
	for _, c := range classes {
		if c.kind == a.Kind {
			return c.class
		}
	}
	return Chore
}

// order is the place of the action in a plan: essential ones first.
func (a Action) order() int {
	place := len(classes)
	for i, c := range classes {
		if c.kind == a.Kind {
			place = i
		}
	}
	if a.Class() == Chore {
		place += len(classes) + 1
	}
	return place
}

// Needs says that the action cannot be done when one of that kind has just failed.
func (a Action) Needs(failed Kind) bool {
	switch failed {
	case MakeDir, InitCA, AcceptCA, StageKey, Obtain:
		return a.Kind == InitCA || a.Kind == StageKey || a.Kind == Obtain || a.Kind == Install && !a.Extra
	case Recover:
		return true
	}
	return false
}

// failurePrefix begins the keys of state.Failures that belong to an action.
const failurePrefix = "do "

// FailureKey is the key of state.Failures under which failed attempts at the action are counted.
func (a Action) FailureKey() string {
	if a.Kind == Obtain {
		return ObtainFailure
	}
	key := failurePrefix + string(a.Kind) + " " + a.Path
	if a.ID != "" {
		key += " " + a.ID
	}
	if a.Extra {
		key += " extra"
	}
	return key
}

// resting gives the failure because of which an action is left out of this plan. A person who runs a verb does not
// wait for the end of a backoff, but what failed in this very run is not tried twice.
func (a *assessment) resting(act Action) (state.Failure, bool) {
	key := act.FailureKey()
	f, failed := a.obs.State.Failures[key]
	if a.obs.FailedNow[key] {
		return f, true
	}
	return f, failed && act.Kind != Obtain && !a.wish.Once && a.now.Before(f.Next)
}

// leaveOut takes the actions out of the plan that failed and are not due again, and says so.
func (a *assessment) leaveOut(p *Plan) {
	for _, act := range p.resting {
		f, _ := a.resting(act)
		for i := range p.Problems {
			if pr := &p.Problems[i]; pr.Mended && pr.Reason == act.Reason && (act.Path == "" || strings.HasPrefix(pr.Path, act.Path)) {
				pr.Mended = false
			}
		}
		sev := Warning
		if act.Class() == Essential {
			sev = Error
		}
		text := fmt.Sprintf("could not %s: %s", act.Text, f.Error)
		if f.Count > 1 {
			text += fmt.Sprintf("; %d attempts since %s", f.Count, day(f.First))
		}
		p.report(Problem{Reason: StepFailed, Severity: sev, Path: act.Path, Text: text,
			Hint: "correct what the error says; it is tried again " + again(f.Next, a.now) + ", or with `mailcertd ensure`"})
		p.lookAt(f.Next, "a failed step is tried again")
	}
	for key := range p.State.Failures { // what is not to be done any more has not failed either
		if strings.HasPrefix(key, failurePrefix) && !p.wanted[key] {
			delete(p.State.Failures, key)
		}
	}
}

func again(at, now time.Time) string {
	if !now.Before(at) {
		return "soon"
	}
	return "at " + day(at)
}
