package plan

import "strings"

// TracesFailure is the key of state.Failures for failed attempts to remove what an order has left.
const TracesFailure = "remove traces"

// traces removes what an order at an ACME CA has left where others can see it: records in the DNS, and files below a
// webroot. An order that is due or under way comes first, because it may need them, and removes them at its end.
func traces(a *assessment, sofar finding) (found finding) {
	left := a.obs.Traces
	if len(left) == 0 {
		return found
	}
	f, failed := a.obs.State.Failures[TracesFailure]
	if failed {
		found.report(Problem{Reason: ACMETraces, Severity: Warning, Path: a.cfg.Path,
			Text: f.Error + "; mailcertd tries again " + again(f.Next, a.now),
			Hint: "correct the cause in the message, or remove it yourself: it harms no certificate"})
	}
	text := toRemove.With(strings.Join(left, " and ") + " of an order that is over")
	switch {
	case failed && a.now.Before(f.Next):
		found.lookAt(f.Next, text.Base())
	case sofar.ask == nil:
		found.ask = &Ask{Reason: ACMETraces, Text: text, Tidy: true}
	}
	return found
}
