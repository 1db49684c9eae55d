package plan

import (
	"slices"
	"strings"
	"time"
)

// finding is what one section of the decision has found: actions, problems and the time of the next look. Each section
// returns its own, and Make joins them.
type finding struct {
	actions  []Action // also those whose backoff has not ended, see assessment.resting
	problems []Problem
	next     time.Time // zero: nothing is due
	nextWhat string
	ask      *Ask
	rejected string   // see Plan.Rejected
	alone    []string // paths that are left alone for now: no action of the plan repairs them
}

// do adds an action.
func (f *finding) do(act Action) { f.actions = append(f.actions, act) }

// report adds a problem. The path is printed before the text, so it is cut from the text.
func (f *finding) report(pr Problem) {
	pr.Text = strings.TrimPrefix(pr.Text, pr.Path+": ")
	f.problems = append(f.problems, pr)
}

// lookAt makes the next look no later than t.
func (f *finding) lookAt(t time.Time, what string) {
	if t.IsZero() || (!f.next.IsZero() && !t.Before(f.next)) {
		return
	}
	f.next, f.nextWhat = t, what
}

// and joins two findings, those of f first. What g leaves alone counts as not repaired in f too.
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

// unrepaired returns the problems; those that match are marked as not repaired.
func (f finding) unrepaired(match func(Problem) bool) []Problem {
	out := slices.Clone(f.problems)
	for i := range out {
		if match(out[i]) {
			out[i].Repairable = false
		}
	}
	return out
}

// wants reports whether there is an action of this kind, resting or not.
func (f finding) wants(kind Kind) bool {
	return slices.ContainsFunc(f.actions, func(act Action) bool { return act.Kind == kind && !act.Extra })
}

// doing reports whether the plan performs an action of these kinds now, so that it is found and does not rest.
func (a *assessment) doing(f finding, kinds ...Kind) bool {
	return slices.ContainsFunc(f.actions, func(act Action) bool {
		if !slices.Contains(kinds, act.Kind) || act.Extra {
			return false
		}
		_, rests := a.resting(act)
		return !rests
	})
}
