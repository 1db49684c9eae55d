package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/state"
)

// Class says whether a failed action may delay others.
type Class int

// The classes: essential actions bring back, renew and deliver what sendmail serves, and
// their failure stops what needs them. Chores come after them, and their failure stops nothing.
const (
	Chore Class = iota
	Essential
)

func (c Class) String() string { return [...]string{"chore", "essential"}[c] }

// classes lists the kinds of actions in the order of a plan, each with its class.
var classes = []struct {
	kind  Kind
	class Class
}{
	{Recover, Essential},
	{MakeDir, Essential},
	{Chmod, Essential},
	{Chown, Essential},
	{InitCA, Essential},
	{RedateCA, Essential},
	{AcceptCA, Essential},
	{StageKey, Essential},
	{Obtain, Essential},
	{Install, Essential},
	{ReconcileCA, Chore}, // each step that signs repairs what it needs
	{NextCA, Chore},
	{PromoteCA, Chore},
	{PruneCA, Chore},
	{WriteCRL, Chore},
	{MakeInbox, Chore},
	{Answer, Chore},
	{Unstage, Chore},
	{PruneBackup, Chore},
	{DeleteOldKey, Chore},
	{Clear, Chore},
	{MoveBackups, Chore}, // after Clear, whose paths may be in the former directory
}

// Class is the class of the action.
func (a Action) Class() Class {
	if a.Extra || a.Reason == ModeLoose {
		return Chore // for example files in trust/, or the mode of a directory that sendmail does not read
	}
	for _, c := range classes {
		if c.kind == a.Kind {
			return c.class
		}
	}
	return Chore
}

// order is the position of the action in a plan: essential ones come first.
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

// Needs reports whether the action depends on one of the failed kind.
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
		return ObtainFailureOf(a.Pair)
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

// resting returns the failure whose backoff keeps an action out of this plan. A verb does not wait for the backoff of
// an earlier run, but does not retry what failed in its own run.
func (a *assessment) resting(act Action) (state.Failure, bool) {
	key := act.FailureKey()
	f, failed := a.obs.State.Failures[key]
	if a.obs.FailedNow[key] {
		return f, true
	}
	return f, failed && act.Kind != Obtain && !a.wish.Once && a.now.Before(f.Next)
}

// dueNow removes the actions whose backoff has not ended, and reports them as failed steps.
func dueNow(a *assessment, sofar finding) finding {
	var told finding
	out := sofar
	out.actions = nil
	keyless := map[certdir.Pair]bool{} // pairs whose new key could not be staged
	for _, act := range sofar.actions {
		f, rests := a.resting(act)
		if !rests && act.Kind == Obtain && act.Request.Staged && keyless[act.Pair] {
			out.problems = out.unrepaired(func(pr Problem) bool { return pr.Path == act.Path })
			continue // the failed key is reported; its certificate waits
		}
		keyless[act.Pair] = keyless[act.Pair] || rests && act.Kind == StageKey
		if !rests {
			out.actions = append(out.actions, act)
			continue
		}
		out.problems = out.unrepaired(func(pr Problem) bool {
			return pr.Reason == act.Reason && (act.Path == "" || strings.HasPrefix(pr.Path, act.Path))
		})
		sev := Warning
		if act.Class() == Essential {
			sev = Error
		}
		text := act.Text.CouldNot() + ": " + f.Error
		if f.Count > 1 {
			text += fmt.Sprintf("; %d attempts since %s", f.Count, day(f.First))
		}
		told.report(Problem{Reason: StepFailed, Severity: sev, Path: act.Path, Text: text,
			Hint: "correct the cause of the error; mailcertd tries again " + again(f.Next, a.now) +
				"; to try it now, run `mailcertd ensure`"})
		told.lookAt(f.Next, "a failed step is tried again")
	}
	return out.and(told)
}

// failures keeps the failures that still matter: those of planned actions, and those that belong to no action. When an
// action is no longer needed, its failure is forgotten.
func failures(before map[string]state.Failure, actions []Action) map[string]state.Failure {
	out := maps.Clone(before)
	maps.DeleteFunc(out, func(key string, _ state.Failure) bool {
		return strings.HasPrefix(key, failurePrefix) &&
			!slices.ContainsFunc(actions, func(act Action) bool { return act.FailureKey() == key })
	})
	return out
}

func again(at, now time.Time) string {
	if !now.Before(at) {
		return "soon"
	}
	return "at " + day(at)
}
