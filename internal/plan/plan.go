// Package plan decides. Make is a pure function from the configuration, the observed values and the time to an ordered
// list of actions, all problems, and the time of the next look. It does no I/O, reads no clock, draws no random numbers
// and logs nothing.
package plan

import (
	"path/filepath"
	"slices"
	"sort"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/state"
)

// Plan is the decision.
type Plan struct {
	Actions  []Action
	Problems []Problem // worst first
	// State is the new state; it is written when it differs from the observed one.
	State state.State
	// Ask is the question to put to the CA on another host, or to an ACME CA; nil: none.
	Ask *Ask
	// TLSA is the decision about the TLSA records: what to ask the DNS, and when, and what to publish.
	TLSA dane.Decision
	// Rejected is why the certificate that the CA on another host has just sent cannot be used; "": it can be, or none
	// was sent.
	Rejected string
	// Next is the latest time of the next look, and NextWhat its purpose; zero: no look is due.
	Next     time.Time
	NextWhat string
	// At is the believed time, by which apply signs. notBefore is Backdate before it.
	At       time.Time
	Backdate time.Duration
	// Facts are for `status`. They come from the decision and are not decided again.
	Facts Facts
}

// Empty reports whether there is nothing to do now.
func (p Plan) Empty() bool { return len(p.Actions) == 0 }

// Worst is the highest severity among the problems that the plan does not repair; Notice when there is none.
func (p Plan) Worst() Severity {
	worst := Notice
	for _, pr := range p.Problems {
		if !pr.Repairable && pr.Severity > worst {
			worst = pr.Severity
		}
	}
	return worst
}

// Make decides. Each section returns what it found and changes nothing; Make passes it on to the sections that need it.
func Make(cfg config.Config, obs Observed, wish Wish, now time.Time) Plan {
	seen := obs
	seen.State = withinReach(obs.State, now)
	forgetFormer(cfg, seen.State.Failures)
	a := assess(cfg, seen, wish, now)
	if found, unfinished := recovery(a); unfinished { // an unfinished change comes alone: half a set cannot be judged
		return a.plan(dueNow(a, found), seen.State.Clone())
	}
	found := stateProblems(a).
		and(clockProblems(a)).
		and(nameProblems(a)).
		and(cfProblems(a)).
		and(shownElsewhere(a)).
		and(submission(a)).
		and(directories(a)).
		and(modes(a)).
		and(exposed(a)).
		and(issuing(a)).
		and(spared(a)).
		and(tlsa(a)).
		and(unused(a))
	certs := set(a, found)
	found = found.and(certs.finding)
	for _, by := range a.issuers {
		found = found.and(askDaily(a, by, found)).and(poll(a, by, found))
	}
	found = found.and(traces(a, found))
	told, over := pickup(a, found)
	found = found.and(told)
	kept, oldKeys := housekeeping(a, found, over.Pickup == nil)
	found = found.and(kept).
		and(leftovers(a, found)).
		and(expiries(a, found)).
		and(refused(a, found))

	st := seen.State.Clone()
	st.HighWater, st.Clock = a.mark, a.doubt
	st.Name = nameSeen(a)
	st.DANE = a.tlsa.Memory
	for _, p := range a.pairs {
		if id, learned := learnedAsOurs(p); learned {
			st.AddOurs(id, "cert", now, Lying(seen.Certs)...)
		}
	}
	for _, p := range a.pairs {
		if of := st.Pair(p.is.Name); p.holdIsOver() {
			of.Hold = ""
			st.SetPair(p.is.Name, of)
		}
	}
	for name, seen := range certs.mismatch {
		of := st.Pair(name)
		of.Mismatch = seen
		st.SetPair(name, of)
	}
	st.Pickup, st.PickedUp = over.Pickup, over.PickedUp
	st.Notify, st.Notified = over.Notify, over.Notified
	st.Failures = failures(st.Failures, found.actions)
	for _, failure := range certs.obtained {
		delete(st.Failures, failure)
	}
	if len(a.obs.Traces) == 0 {
		delete(st.Failures, TracesFailure)
	}
	st.OldKeys, st.Ours = ages(a, oldKeys, st.Ours)
	p := a.plan(dueNow(a, found), st)
	for i, f := range p.Facts.Pairs {
		p.Facts.Pairs[i].Asks = certs.asks[f.Pair.Name]
	}
	return p
}

// once removes problems that another one explains. An expired certificate also expires soon and is due; where a
// directory is in the way, sendmail also misses the file.
func once(problems []Problem) []Problem {
	said := func(pr Problem, by ...Reason) bool {
		return slices.ContainsFunc(problems, func(o Problem) bool {
			return o.Path == pr.Path && slices.Contains(by, o.Reason)
		})
	}
	return slices.DeleteFunc(slices.Clone(problems), func(pr Problem) bool {
		switch pr.Reason {
		case Expiring:
			return said(pr, Expired)
		case Due:
			return said(pr, Expired, Expiring)
		case Refused:
			return said(pr, InTheWay) || said(Problem{Path: filepath.Dir(pr.Path)}, InTheWay)
		}
		return false
	})
}

// plan completes the decision: the actions in order, the problems, and the new state.
func (a *assessment) plan(found finding, st state.State) Plan {
	p := Plan{TLSA: a.tlsa, Actions: found.actions, Problems: once(found.problems), Ask: found.ask,
		Rejected: found.rejected, State: st,
		Next: found.next, NextWhat: found.nextWhat, At: a.at, Backdate: a.backdate(), Facts: facts(a)}
	if a.clock != clockFine && !p.Next.IsZero() && p.Next.Before(a.now) {
		// What this clock alone calls due waits until the clock is believed.
		p.Next, p.NextWhat = a.now.Add(clockNoted), clockLooked
	}
	p.Problems = append(p.Problems, WithoutDaemon(a.cfg, a.obs.Daemon, p)...)
	sort.SliceStable(p.Actions, func(i, j int) bool { return p.Actions[i].order() < p.Actions[j].order() })
	sort.SliceStable(p.Problems, func(i, j int) bool { return p.Problems[i].Severity > p.Problems[j].Severity })
	return p
}
