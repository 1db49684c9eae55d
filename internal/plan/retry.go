package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/state"
)

// backoffCap is the longest wait between two attempts at something on this host.
const backoffCap = time.Hour

// Backoff is the wait after n failures in a row, where n counts from 1: one minute, doubled with each failure.
func Backoff(n int) time.Duration { return doubled(time.Minute, backoffCap, n) }

// doubled is the first wait, doubled with each further failure, but not more than most.
func doubled(first, most time.Duration, n int) time.Duration {
	for ; n > 1 && first < most; n-- {
		first *= 2
	}
	return min(first, most)
}

// Failed counts one more failure in a series, and sets the earliest time of the next attempt. by is the issuer on
// another host that was asked, "" where none was: what another one said before does not count.
func Failed(f state.Failure, by string, err error, now time.Time) state.Failure {
	if by != "" && f.By != "" && f.By != by {
		f = state.Failure{}
	}
	f.By = cmp.Or(by, f.By)
	f.Last = now.UTC().Truncate(time.Second)
	if f.Count == 0 {
		f.First = f.Last
	}
	f.Count++
	f.Next = f.Last.Add(Backoff(f.Count))
	f.Error = err.Error()
	var no issuer.Refusal
	if !errors.As(err, &no) || no.Kind == "" {
		f.Kind, f.Same = "", 0
		return f
	}
	if f.Kind != string(no.Kind) { // a CA that was away for long is not to make the wait after a typing error long
		f.Kind, f.Same = string(no.Kind), 0
	}
	f.Same++
	f.Next = askAgain(no, f.Same, f.Last)
	return f
}

// waits returns the first and the longest wait after a refusal, by what it is about. A CA that is away is soon back; a
// person has to do something about most others.
func waits(kind issuer.Kind) (first, longest time.Duration) {
	switch kind {
	case issuer.KindAway, issuer.KindClock, issuer.KindStore:
		return time.Minute, time.Hour
	case issuer.KindChallenge:
		return 10 * time.Minute, 12 * time.Hour
	}
	return time.Hour, 24 * time.Hour
}

// longestWait bounds a Retry-After that a CA asks for.
const longestWait = 31 * 24 * time.Hour

// askAgain is when the CA is asked again after the nth refusal in a row: later each time, and never before the time
// that it has named. A person may ask at any time.
func askAgain(no issuer.Refusal, n int, now time.Time) time.Time {
	first, longest := waits(no.Kind)
	next := now.Add(doubled(first, longest, n))
	if no.NotBefore.After(next) {
		next = no.NotBefore
	}
	if last := now.Add(longestWait); next.After(last) {
		next = last
	}
	return next.UTC().Truncate(time.Second)
}

// ObtainFailure is the key of state.Failures for failed requests to the issuer.
const ObtainFailure = "obtain"

// ObtainFailureOf is that key for one pair; the host's own has ObtainFailure.
func ObtainFailureOf(p certdir.Pair) string {
	if p == certdir.Host || p == (certdir.Pair{}) {
		return ObtainFailure
	}
	return ObtainFailure + " " + p.Name
}

// CAHostFailure is that key for questions to the CA host that are not about one pair. It is the key of the pair that
// the CA host issues: another issuer of this host does not wait because of it.
func CAHostFailure(cfg config.Config) string { return ObtainFailureOf(pairOfCAHost(cfg)) }

// pairOfCAHost is the first pair that the CA on another host issues.
func pairOfCAHost(cfg config.Config) certdir.Pair {
	if cfg.Issuer.Kind == config.IssuerSSH {
		return certdir.Host
	}
	return certdir.Client
}

// PollFailure is the key of state.Failures for failed questions when a pair's certificate is to be renewed.
func PollFailure(p certdir.Pair) string { return "renewal-info " + p.Name }

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
			text += fmt.Sprintf("; %d attempts since %s", f.Count, moment(f.First))
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
	return "at " + moment(at)
}
