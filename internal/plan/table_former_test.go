package plan_test

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// saidBy names who gave the last refusal.
func saidBy(name string) Fact {
	return Remembers(func(s *state.State) {
		f := s.Failures[plan.ObtainFailure]
		f.By = name
		s.Failures[plan.ObtainFailure] = f
	})
}

// withCA is a host with a complete CA.
func withCA() Fact {
	return Seeing(func(o *plan.Observed) { o.CA = Host().Seen.CA })
}

// formerRows are about what another issuer than the present one has left behind.
var formerRows = []row{
	{"a public certificate, no CA yet, and a private one is wanted for the client", Host(Public(), WantsClient()),
		"make-ca ca-make; stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, warning cf-other-files, warning cf-other-files",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"a public certificate without a state, no CA yet, and a private one is wanted for the client", Host(Public(),
		AnswerInstalled(), WantsClient(),
		Remembers(func(s *state.State) { *s = state.State{HighWater: s.HighWater} })),
		"ask renewal-ask",
		"error ca-missing, error key-missing, error cert-missing, warning cf-other-files, warning cf-other-files",
		"18.0 days: renewal is due",
		"ours, picked_up"},
	{"a public certificate, and the issuer is the CA on this host now", Host(Public(), Instead(config.IssuerLocal),
		withCA()),
		"install issuer-changed: host.cert, cacert.pem, e5cedbc3.0 and remove 78c4e068.0, " +
			"a copy of host.cert, a copy of cacert.pem",
		"error cacert-not-issuer+, warning issuer-changed+, warning trust-added+, warning link-wrong+, " +
			"warning link-missing+",
		"2033.3 days: the CA's next generation is due",
		""},
	{"a public certificate, and the issuer is a CA on this host that does not exist yet", Host(Public(),
		Instead(config.IssuerLocal)),
		"make-ca ca-make; obtain issuer-changed",
		"warning issuer-changed+",
		"",
		""},
	{"a public certificate, and the issuer is a CA host now", Host(Public(), Instead(config.IssuerSSH)),
		"ask issuer-changed",
		"warning issuer-changed",
		"21.0 days: renewal is due",
		""},
	{"a public certificate, and the issuer is none now", Host(Public(), Instead(config.IssuerNone)),
		"",
		"notice wrong-purpose",
		"21.0 days: renewal is due",
		""},
	{"a former directory gave no certificate", Host(ACME(), Interim(), SaidNo(issuer.KindRateLimit, 9*time.Hour),
		saidBy("letsencrypt-staging")),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due",
		"no failures"},
	{"a former directory gave no certificate, and the issuer is the CA on this host now", Host(Interim(),
		SaidNo(issuer.KindRateLimit, 9*time.Hour), saidBy("letsencrypt-staging")),
		"obtain interim-set",
		"error interim-set+",
		"2033.3 days: the CA's next generation is due",
		"no failures"},
	{"the present directory gave no certificate", Host(ACME(), Interim(), SaidNo(issuer.KindRateLimit, 9*time.Hour),
		saidBy("letsencrypt")),
		"",
		"error acme-rate-limit, error interim-set",
		"9h0m0s: ask the CA again",
		""},
}

// Without a place to remember orders nothing is ordered, and no hint says that certificates are still renewed.
func TestUnwritableStateAndOrders(t *testing.T) {
	for _, w := range []struct {
		host Fact
		says string
	}{{Public(), "nothing is ordered from letsencrypt"}, {Interim(), "certificates are still made and renewed"}} {
		for _, pr := range Host(w.host, StateUnwritable()).Plan().Problems {
			if pr.Reason == plan.StateUnwritable && !strings.Contains(pr.Hint, w.says) {
				t.Errorf("%q does not say %q", pr.Hint, w.says)
			}
		}
	}
}
