package plan_test

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// fallbackRows are about a host with a second ACME CA.
var fallbackRows = []row{
	{"the CA cannot be reached, and the fallback waits", Host(Public(), WithFallback(), LivesFor(90*Day, 16*Day),
		Window(-Day), SaidNo(issuer.KindAway, time.Minute)),
		"",
		"error issuer-away, warning expiring, notice wrong-purpose",
		"1m0s: ask the CA again",
		""},
	{"the CA cannot be reached until a sixth of the life is left", Host(Public(), WithFallback(),
		LivesFor(90*Day, 14*Day), Window(-Day), SaidNo(issuer.KindAway, time.Minute)),
		"ask the fallback renewal-due",
		"error issuer-away, warning expiring, notice wrong-purpose",
		"1m0s: ask the CA again",
		""},
	{"too many orders until a sixth of the life is left", Host(Public(), WithFallback(), LivesFor(90*Day, 14*Day),
		Window(-Day), SaidNo(issuer.KindRateLimit, Day)),
		"ask the fallback renewal-due",
		"error acme-rate-limit, warning expiring, notice wrong-purpose",
		"24h0m0s: ask the CA again",
		""},
	{"the CA found no proof, and the fallback is not asked", Host(Public(), WithFallback(), LivesFor(90*Day, 14*Day),
		Window(-Day), SaidNo(issuer.KindChallenge, time.Hour)),
		"",
		"error acme-challenge, warning expiring, notice wrong-purpose",
		"1h0m0s: ask the CA again",
		""},
	{"the CA cannot be reached, and is asked again before the fallback", Host(Public(), WithFallback(),
		LivesFor(90*Day, 14*Day), Window(-Day), SaidNo(issuer.KindAway, -time.Second)),
		"ask renewal-due",
		"error issuer-away, warning expiring, notice wrong-purpose",
		"7.0 days: first warning before the certificate expires",
		""},
	{"neither CA can be reached", Host(Public(), WithFallback(), LivesFor(90*Day, 14*Day), Window(-Day),
		SaidNo(issuer.KindAway, time.Hour), FallbackSaidNo(issuer.KindAway, 10*time.Minute)),
		"",
		"error issuer-away, error issuer-away, warning expiring, notice wrong-purpose",
		"10m0s: ask the fallback https://fallback.example/dir",
		""},
	{"there is an interim certificate, and the CA has been away for an hour", Host(ACME(), WithFallback(), Interim(),
		SaidNo(issuer.KindAway, time.Minute)),
		"ask the fallback interim-set",
		"error issuer-away, error interim-set",
		"1m0s: ask the CA again",
		""},
	{"there is an interim certificate, and the CA has been away for a minute", Host(ACME(), WithFallback(), Interim(),
		SaidNo(issuer.KindAway, time.Minute), Remembers(func(s *state.State) {
			f := s.Failures[plan.ObtainFailure]
			f.First = Now.Add(-time.Minute)
			s.Failures[plan.ObtainFailure] = f
		})),
		"",
		"error issuer-away, error interim-set",
		"1m0s: ask the CA again",
		""},
	{"the fallback has issued the certificate", Host(Public(), WithFallback(), FromFallback()),
		"",
		"warning acme-fallback, notice wrong-purpose",
		"5h0m0s: ask https://fallback.example/dir when to renew host.cert",
		""},
	{"the fallback is to be asked when to renew", Host(Public(), WithFallback(), FromFallback(), PollIn(-time.Minute)),
		"ask the fallback renewal-ask",
		"warning acme-fallback, notice wrong-purpose",
		"21.0 days: renewal is due",
		""},
	{"the certificate of the fallback is due", Host(Public(), WithFallback(), FromFallback(), Window(-Day)),
		"ask renewal-due",
		"warning acme-fallback, notice wrong-purpose, notice renewal-due",
		"27.5 days: first warning before the certificate expires",
		""},
	{"the fallback has issued the certificate, and is not configured any more", Host(Public(), FromFallback()),
		"ask issuer-changed",
		"warning issuer-changed",
		"21.0 days: renewal is due",
		""},
	{"somebody asks while the fallback would be asked", Host(Public(), WithFallback(), LivesFor(90*Day, 14*Day),
		Window(-Day), SaidNo(issuer.KindAway, time.Minute), Renew()),
		"ask renewal-due",
		"error issuer-away, warning expiring, notice wrong-purpose, notice asked",
		"7.0 days: first warning before the certificate expires",
		""},
	{"the fallback has answered", Host(Public(), WithFallback(), LivesFor(90*Day, 14*Day), Window(-Day),
		Ordered("host", 0, Name), Remembers(func(s *state.State) {
			m := s.ACME[certdir.Host.Name]
			m.SentBy = "https://fallback.example/dir"
			s.ACME[certdir.Host.Name] = m
		})),
		"install renewal-due: host.cert, a copy of host.cert",
		"notice wrong-purpose, notice renewal-due+",
		"",
		""},
	{"the fallback has answered with other names", Host(ACME(), WithFallback(), Interim(), Ordered("host", time.Hour,
		"other.home.example"), SaidNo(issuer.KindAway, time.Minute), Remembers(func(s *state.State) {
		m := s.ACME[certdir.Host.Name]
		m.SentBy = "https://fallback.example/dir"
		s.ACME[certdir.Host.Name] = m
	})),
		"",
		"error issuer-away, error interim-set, error issuer-away",
		"1m0s: ask the CA again",
		""},
}

// What is to be corrected at the fallback is named by its own settings, and the first CA's problem says when the
// fallback is asked.
func TestFallbackHints(t *testing.T) {
	w := Host(Public(), WithFallback(), LivesFor(90*Day, 20*Day), Window(-Day), SaidNo(issuer.KindAway, time.Hour),
		FallbackSaidNo(issuer.KindTOS, time.Hour))
	for reason, want := range map[plan.Reason]string{plan.ACMEAccount: "set issuer.acme.fallback.agree_tos to true",
		plan.IssuerAway: "; it asks the fallback https://fallback.example/dir from "} {
		found := false
		for _, p := range w.Plan().Problems {
			found = found || p.Reason == reason && strings.Contains(p.Hint, want)
		}
		if !found {
			t.Errorf("no %s with the hint %q: %+v", reason, want, w.Plan().Problems)
		}
	}
}
