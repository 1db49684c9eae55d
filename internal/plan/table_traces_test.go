package plan_test

import (
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// left has a record of an order that is still in the DNS.
func left() Fact {
	return Seeing(func(o *plan.Observed) { o.Traces = []string{"the TXT record _acme-challenge.mail"} })
}

// notRemoved has failed to remove it; the next try is due then.
func notRemoved(next time.Duration) Fact {
	return Remembers(func(s *state.State) {
		s.Failures = map[string]state.Failure{plan.TracesFailure: {Count: 1, First: Now, Last: Now, Next: Now.Add(next),
			Error: "REFUSED"}}
	})
}

// tracesRows are about what an order has left where others can see it.
var tracesRows = []row{
	{"an order has left a record", Host(Public(), left()),
		"ask acme-traces",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert", ""},
	{"an order has left a record, and another one is due", Host(Public(), Window(-Day), left()),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"27.5 days: first warning before the certificate expires", ""},
	{"an order has left a record, and the next one waits", Host(Public(), Window(-Day),
		SaidNo(issuer.KindRateLimit, 3*time.Hour), left()),
		"ask acme-traces",
		"error acme-rate-limit, notice wrong-purpose, notice renewal-due",
		"3h0m0s: ask the CA again", ""},
	{"an order has left a record that could not be removed", Host(Public(), left(), notRemoved(time.Hour)),
		"",
		"warning acme-traces, notice wrong-purpose",
		"1h0m0s: remove the TXT record _acme-challenge.mail of an order that is over", ""},
	{"an order has left a record, and the issuer is another one now", Host(left(), notRemoved(0)),
		"ask acme-traces",
		"warning acme-traces",
		"141.1 days: renewal is due", ""},
	{"a record that could not be removed is gone", Host(notRemoved(time.Hour)),
		"",
		"",
		"141.1 days: renewal is due", "no failures"},
}
