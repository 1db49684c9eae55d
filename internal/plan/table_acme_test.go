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

// acmeRows are about a host whose certificate an ACME CA issues.
var acmeRows = []row{
	{"a public certificate", Host(Public()),
		"",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"a public certificate, and a state directory in memory", Host(Public(), StateInMemory()),
		"",
		"warning state-volatile, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"a public certificate that a person had revoked", Host(Public(), RevokedByACME("superseded")),
		"ask revoked",
		"error revoked, notice wrong-purpose",
		"21.0 days: renewal is due",
		""},
	{"a public certificate that a person had revoked, and the CA gives no other one", Host(Public(),
		RevokedByACME(""), SaidNo(issuer.KindAway, 20*time.Minute)),
		"",
		"error revoked, warning issuer-away, notice wrong-purpose",
		"20m0s: ask the CA again",
		""},
	{"a public certificate whose key was lost", Host(Public(), RevokedByACME("keyCompromise")),
		"stage-key revoked ecdsa-p256",
		"error revoked, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"a public certificate beside a private one for the client", Host(Public(), WantsClient(),
		Seeing(func(o *plan.Observed) { o.CA = Host().Seen.CA })),
		"stage-key key-missing rsa-2048; obtain key-missing, new key",
		"error key-missing+, error cert-missing+, error cacert-not-issuer+, " +
			"warning cf-other-files, warning cf-other-files, warning link-missing+",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"a public certificate, and the CA host for the client's cannot be reached", Host(Public(),
		ClientOf("ca.home.example"), Names(client), Failed(plan.ObtainFailureOf(client), 2, 20*time.Minute),
		Window(-time.Hour)),
		"ask renewal-due",
		"error issuer-away, error key-missing, error cert-missing, " +
			"warning sendmail-refuses, warning sendmail-refuses, notice renewal-due",
		"20m0s: ask the CA again",
		""},
	{"the ACME CA cannot be reached, and the client's pair is missing", Host(Public(),
		ClientOf("ca.home.example"), Names(client), StagedFor(client, "client"),
		Failed(plan.ObtainFailure, 2, 20*time.Minute), Window(-time.Hour)),
		"ask key-missing, new key",
		"error issuer-away, error key-missing, error cert-missing, " +
			"warning sendmail-refuses, warning sendmail-refuses, notice renewal-due",
		"20m0s: ask the CA again",
		""},
	{"the CA is to be asked when to renew", Host(Public(), PollIn(-time.Minute)),
		"ask renewal-ask",
		"notice wrong-purpose",
		"21.0 days: renewal is due",
		""},
	{"the CA is to be asked when to renew, by a clock that was far ahead", Host(Public(), PollIn(9*Day)),
		"ask renewal-ask",
		"notice wrong-purpose",
		"21.0 days: renewal is due",
		""},
	{"the CA was to be asked when to renew, and could not be reached", Host(Public(), PollIn(-time.Minute),
		Failed(plan.PollFailure(certdir.Host), 2, 2*time.Minute)),
		"",
		"notice wrong-purpose",
		"2m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the moment in the window has come", Host(Public(), Window(-time.Minute)),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"27.5 days: first warning before the certificate expires",
		""},
	{"the window of a new certificate is over", Host(Public(), LivesFor(90*Day, 90*Day-2*time.Hour), Window(-3*Day)),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"67.4 days: first warning before the certificate expires",
		""},
	{"the window is over again, for a new certificate that was ordered because of one", Host(Public(),
		LivesFor(90*Day, 90*Day-2*time.Hour), Window(-3*Day), OrderedByWindow()),
		"",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the window of the next is over since its first day", Host(Public(), LivesFor(90*Day, 89*Day), Window(-3*Day),
		OrderedByWindow()),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"66.5 days: first warning before the certificate expires",
		""},
	{"the window of a certificate is over since its first day", Host(Public(), LivesFor(90*Day, 89*Day),
		Window(-3*Day)),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"66.5 days: first warning before the certificate expires",
		""},
	{"the window begins after the end", Host(Public(), Window(60*Day)),
		"",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the CA names no window", Host(Public(), NoWindow()),
		"",
		"notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the CA names no window, and a third of the life is left", Host(Public(), LivesFor(90*Day, 29*Day), NoWindow()),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"6.5 days: first warning before the certificate expires",
		""},
	{"six days of life, and a third is left", Host(Public(), LivesFor(6*Day, 47*time.Hour), NoWindow()),
		"ask renewal-due",
		"notice wrong-purpose, notice renewal-due",
		"11h0m0s: first warning before the certificate expires",
		""},
	{"an empty disk and an ACME CA", Host(Public(), EmptyDisk()),
		"stage-key key-missing rsa-2048; install key-missing: host.key, host.cert, cacert.pem, dh.param, self-signed",
		"error key-missing, error cert-missing, error no-issuer, error cacert-missing+, warning dh-missing+",
		"",
		"clock, high_water"},
	{"an interim certificate and an ACME CA", Host(ACME(), Interim()),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due",
		""},
	{"the window has come, and the CA has answered", Host(Public(), Window(-Day), Ordered("host", 0, Name)),
		"install renewal-due: host.cert, a copy of host.cert",
		"notice wrong-purpose, notice renewal-due+",
		"", ""},
	{"the directory is another one, and has answered", Host(Public(), FromStaging(), Ordered("host", 0, Name)),
		"install issuer-changed: host.cert, a copy of host.cert",
		"warning issuer-changed+",
		"", ""},
	{"an interim certificate, and the ACME CA has answered", Host(ACME(), Interim(), Ordered("host", 0, Name)),
		"install interim-set: host.cert, cacert.pem, 861e18cb.0 and remove 22fde19a.0, " +
			"a copy of host.cert, a copy of cacert.pem",
		"error interim-set+, warning cacert-stale+, warning link-wrong+, warning link-missing+",
		"",
		""},
	{"the ACME CA has answered with other names", Host(ACME(), Interim(),
		Ordered("host", time.Hour, "other.home.example")),
		"",
		"error interim-set, error issuer-away",
		"23h0m0s: ask the CA again",
		""},
	{"the ACME CA has answered with other names a day ago", Host(ACME(), Interim(),
		Ordered("host", 25*time.Hour, "other.home.example")),
		"ask interim-set",
		"error interim-set",
		"136.6 days: renewal is due",
		""},
	{"the answer of the ACME CA cannot be read", Host(Public(), AnswerUnreadable()),
		"",
		"warning issuer-away, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		""},
	{"the answer of the ACME CA cannot be read, and is needed", Host(ACME(), Interim(), AnswerUnreadable()),
		"ask interim-set, the same again",
		"error interim-set, warning issuer-away",
		"136.6 days: renewal is due",
		""},
	{"the answer of the ACME CA is gone before it was installed", Host(ACME(), Interim(), Ordered("host", 0, Name),
		Seeing(func(o *plan.Observed) { o.Orders = nil })),
		"ask interim-set, the same again",
		"error interim-set",
		"136.6 days: renewal is due",
		""},
	{"the answer of the ACME CA cannot be read, was installed, and is due", Host(Public(), Window(-Day),
		AnswerUnreadable()),
		"ask renewal-due",
		"warning issuer-away, notice wrong-purpose, notice renewal-due",
		"27.5 days: first warning before the certificate expires",
		""},
	{"the state is lost, and the public certificate is the last answer", Host(Public(), AnswerInstalled(),
		Remembers(func(s *state.State) { *s = state.State{HighWater: s.HighWater, PickedUp: s.PickedUp} })),
		"ask renewal-ask",
		"notice wrong-purpose",
		"18.0 days: renewal is due",
		"ours"},
	{"the state is lost, and so is the last answer", Host(Public(),
		Remembers(func(s *state.State) { *s = state.State{HighWater: s.HighWater, PickedUp: s.PickedUp} })),
		"",
		"notice foreign-kept, notice wrong-purpose",
		"27.5 days: first warning before the certificate expires",
		""},
	{"the CA of this host has issued it, and the issuer is an ACME CA now", Host(ACME(), Seeing(func(o *plan.Observed) {
		o.CA = Host().Seen.CA
	})),
		"ask issuer-changed",
		"warning issuer-changed",
		"141.1 days: renewal is due",
		""},
	{"a certificate of the staging directory", Host(Public(), FromStaging()),
		"ask issuer-changed",
		"warning issuer-changed",
		"21.0 days: renewal is due",
		""},
	{"too many orders", Host(Public(), Window(-Day), SaidNo(issuer.KindRateLimit, 3*time.Hour)),
		"",
		"error acme-rate-limit, notice wrong-purpose, notice renewal-due",
		"3h0m0s: ask the CA again",
		""},
	{"too many orders, and the clock has stepped back since", Host(Public(), Window(-Day),
		SaidNo(issuer.KindRateLimit, 3*time.Hour), Remembers(func(s *state.State) {
			f := s.Failures[plan.ObtainFailure]
			f.Last, f.Next = f.Last.Add(9*time.Hour), f.Next.Add(9*time.Hour)
			s.Failures[plan.ObtainFailure] = f
		})),
		"",
		"error acme-rate-limit, notice wrong-purpose, notice renewal-due",
		"3h1m0s: ask the CA again",
		"failures"},
	{"too many orders, and somebody asks", Host(Public(), Window(-Day),
		SaidNo(issuer.KindRateLimit, 3*time.Hour), Renew()),
		"ask renewal-due",
		"error acme-rate-limit, notice wrong-purpose, notice renewal-due, notice asked",
		"27.5 days: first warning before the certificate expires",
		""},
	{"the CA found no proof", Host(Public(), Window(-Day), SaidNo(issuer.KindChallenge, time.Hour)),
		"",
		"error acme-challenge, notice wrong-purpose, notice renewal-due",
		"1h0m0s: ask the CA again",
		""},
	{"the CA accepts no account", Host(Public(), Window(-Day), SaidNo(issuer.KindAccount, time.Hour)),
		"",
		"error acme-account, notice wrong-purpose, notice renewal-due",
		"1h0m0s: ask the CA again",
		""},
	{"the terms are not agreed to", Host(Public(), Window(-Day), SaidNo(issuer.KindTOS, time.Hour)),
		"",
		"error acme-account, notice wrong-purpose, notice renewal-due",
		"1h0m0s: ask the CA again",
		""},
	{"the external account binding is wrong", Host(Public(), Window(-Day), SaidNo(issuer.KindEAB, time.Hour)),
		"",
		"error acme-account, notice wrong-purpose, notice renewal-due",
		"1h0m0s: ask the CA again",
		""},
	{"the ACME CA cannot be reached", Host(Public(), Window(-Day), SaidNo(issuer.KindAway, time.Minute)),
		"",
		"error issuer-away, notice wrong-purpose, notice renewal-due",
		"1m0s: ask the CA again",
		""},
	{"the ACME CA cannot be reached, and nothing is due", Host(Public(), SaidNo(issuer.KindAway, time.Minute)),
		"",
		"warning issuer-away, notice wrong-purpose",
		"5h0m0s: ask letsencrypt when to renew host.cert",
		"no failures"},
	{"the clocks differ", Host(Public(), Window(-Day), SaidNo(issuer.KindClock, time.Minute)),
		"",
		"error acme-clock, notice wrong-purpose, notice renewal-due",
		"1m0s: ask the CA again",
		""},
	{"the CA refuses the order", Host(Public(), Window(-Day), SaidNo(issuer.KindOrder, time.Hour)),
		"",
		"error acme-order, notice wrong-purpose, notice renewal-due",
		"1h0m0s: ask the CA again",
		""},
	{"a public certificate whose key is too old, and mailcertd was killed while it asked for a new one",
		Host(Public(), KeyIsOld(400*Day), RotateAfter(365*Day), Staged(), RequestOut(10*time.Minute)),
		"ask key-rotation, new key",
		"notice wrong-purpose, notice key-rotation",
		"21.0 days: renewal is due", ""},
	{"the pause after the refusal has passed", Host(Public(), Window(-Day), SaidNo(issuer.KindOrder, -time.Second)),
		"ask renewal-due",
		"error acme-order, notice wrong-purpose, notice renewal-due",
		"27.5 days: first warning before the certificate expires",
		""},
}

// A public certificate replaces an interim one in one transaction with the chain above it: nobody sees it without.
func TestChainComesWithTheLeaf(t *testing.T) {
	p := Host(ACME(), Interim(), Ordered("host", 0, Name)).Plan()
	if len(p.Actions) == 0 || p.Actions[0].Kind != plan.Install {
		t.Fatalf("%+v", p.Actions)
	}
	c := p.Actions[0].Change
	var names []string
	for _, f := range c.Files {
		names = append(names, f.Name)
		if n := strings.Count(string(f.Data), "BEGIN CERTIFICATE"); f.Name == certdir.CertName && n != 2 {
			t.Errorf("host.cert has %d certificates", n)
		}
	}
	linked := false
	for _, l := range c.Links {
		linked = linked || l.Target == certdir.CAName || strings.HasPrefix(l.Target, certdir.TrustDir)
	}
	if !linked {
		t.Errorf("no link to the issuer: %q, %+v", names, c.Links)
	}
	// With CAs of peers in cacert.pem it stays, and the chain gets a file in trust/.
	p = Host(Public(), Window(-Day), LivesFor(90*Day, 20*Day), Ordered("host", 0, Name), Seeing(func(o *plan.Observed) {
		o.Certs.CA.File.Certs = Host().Seen.Certs.CA.File.Certs
	})).Plan()
	c = p.Actions[0].Change
	names = nil
	for _, f := range c.Files {
		names = append(names, f.Name)
	}
	if len(names) != 2 || !strings.HasPrefix(names[1], certdir.TrustDir+"/ca-") {
		t.Errorf("%q change together", names)
	}
}

// The moment of a window is in it, the same each time, and another one for another host.
func TestMomentIn(t *testing.T) {
	c := Host(Public()).Seen.Certs.Cert.File.Certs[0]
	start, end := Now, Now.Add(2*Day)
	a, b := plan.MomentIn(start, end, "a.example", c), plan.MomentIn(start, end, "b.example", c)
	if a.Before(start) || !a.Before(end) || a.Equal(b) || !a.Equal(plan.MomentIn(start, end, "a.example", c)) {
		t.Errorf("%s and %s", a, b)
	}
	if got := plan.MomentIn(end, start, "a.example", c); !got.Equal(end) {
		t.Errorf("a window that ends before it begins: %s", got)
	}
}

// Every pair from an ACME CA is due in its own window, and its row says why it has no certificate yet.
func TestDueByWindow(t *testing.T) {
	for _, c := range []struct {
		moment time.Duration // the moment of renewal in the window of host-ecdsa
		want   int
	}{{-Day, 1}, {8 * Day, 0}} { // the last quarter of the life has begun
		w := Host(Public(), LivesFor(90*Day, 20*Day), WantsSecond(), Names(certdir.HostECDSA),
			PublicPair(certdir.HostECDSA, "rsa-2048", c.moment),
			SaidNoTo(certdir.HostECDSA, issuer.KindAway, time.Hour, "the directory is away"))
		p, n := w.Plan(), 0
		for _, r := range plan.NeedsPerson(plan.DueFacts{Config: w.Config, Observed: w.Seen, Plan: p}, 60, w.Now) {
			if r.What == certdir.HostECDSA.Name {
				n++
				if !strings.Contains(r.Text, "due since") || !strings.HasSuffix(r.Text, ": the directory is away") {
					t.Errorf("%+v", r)
				}
			}
		}
		if f := p.Facts.Pairs[1]; n != c.want || f.By != plan.DueByWindow || !f.Due.Equal(Now.Add(c.moment)) {
			t.Errorf("%s: %d rows, due at %s by %s", c.moment, n, f.Due, f.By)
		}
	}
}
