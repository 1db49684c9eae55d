package plan

import (
	"slices"
	"strings"
	"time"
)

// finding is what a section of the decision has found: what is to be done, what is wrong, and when to look again. A
// section returns its own; Make puts them together.
type finding struct {
	actions  []Action // also those that rest because their last attempt failed, see assessment.resting
	problems []Problem
	next     time.Time // zero: nothing is due
	nextWhat string
	ask      *Ask
	rejected string   // see Plan.Rejected
	alone    []string // paths of what is left alone for now, so that no action of the plan repairs it
}

// do adds an action.
func (f *finding) do(act Action) { f.actions = append(f.actions, act) }

// report adds a problem. Its path is said before its text, and not again in it.
func (f *finding) report(pr Problem) {
	pr.Text = strings.TrimPrefix(pr.Text, pr.Path+": ")
	f.problems = append(f.problems, pr)
}

// lookAt moves the time of the next look forward to t.
func (f *finding) lookAt(t time.Time, what string) {
	if t.IsZero() || (!f.next.IsZero() && !t.Before(f.next)) {
		return
	}
	f.next, f.nextWhat = t, what
}

// and is both: what f has found, and behind it what g has. Nothing of f that g leaves alone is repaired.
func (f finding) and(g finding) finding {
	out := finding{
		actions: slices.Concat(f.actions, g.actions), problems: f.unrepaired(func(pr Problem) bool {
			return slices.Contains(g.alone, pr.Path)
		}),
		next: f.next, nextWhat: f.nextWhat, ask: f.ask, rejected: f.rejected, alone: slices.Concat(f.alone, g.alone),
	}
	out.problems = append(out.problems, g.problems...)
	out.lookAt(g.next, g.nextWhat)
	if g.ask != nil {
		out.ask = g.ask
	}
	if g.rejected != "" {
		out.rejected = g.rejected
	}
	return out
}

// unrepaired are the problems, of which those that match are not repaired.
func (f finding) unrepaired(match func(Problem) bool) []Problem {
	out := slices.Clone(f.problems)
	for i := range out {
		if match(out[i]) {
			out[i].Repairable = false
		}
	}
	return out
}

// wants says that an action of this kind was found, whether or not it rests.
func (f finding) wants(kind Kind) bool {
	return slices.ContainsFunc(f.actions, func(act Action) bool { return act.Kind == kind && !act.Extra })
}

// doing says that the plan does something of these kinds now: it was found, and does not rest.
func (a *assessment) doing(f finding, kinds ...Kind) bool {
	return slices.ContainsFunc(f.actions, func(act Action) bool {
		if !slices.Contains(kinds, act.Kind) || act.Extra {
			return false
		}
		_, rests := a.resting(act)
		return !rests
	})
}
