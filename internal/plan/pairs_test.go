package plan_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	. "mailcertd/internal/plan/given"
)

// SetID names the files that sendmail reads when it starts. It changes with the second pair, and not with the client
// pair, which every process that delivers mail reads again.
func TestSetOfPairs(t *testing.T) {
	id := func(facts ...Fact) string { return plan.SetID(Host(facts...).Seen.Certs) }
	one := id()
	if one == id(Has(certdir.HostECDSA, "rsa-2048")) {
		t.Error("the second pair is left out")
	}
	if id(Has(certdir.HostECDSA, "rsa-2048")) == id(Has(certdir.HostECDSA, "rsa-2048", ExpiresIn(Day))) {
		t.Error("the second certificate is left out")
	}
	if one != id(Has(certdir.Client, "client")) {
		t.Error("a client pair is no reason for a HUP")
	}
}

// No HUP is sent while the second pair, which sendmail.cf names, would cost STARTTLS.
func TestSecondPairHoldsHUP(t *testing.T) {
	for _, c := range []struct {
		what  string
		facts []Fact
		works bool
	}{
		{"whole", nil, true},
		{"without its certificate", []Fact{Lost("host-ecdsa.cert")}, false},
		{"without its key", []Fact{Lost("host-ecdsa.key")}, false},
	} {
		w := Host(append([]Fact{WantsSecond(), Names(certdir.HostECDSA), Has(certdir.HostECDSA, "rsa-2048")},
			c.facts...)...)
		p := w.Plan()
		if p.Facts.Works != c.works {
			t.Errorf("%s: worth a HUP: %v", c.what, p.Facts.Works)
		}
		told := false
		for _, complaint := range p.Facts.Verdict.Complaints {
			told = told || complaint.Of == mta.SecondServer
		}
		if told == c.works {
			t.Errorf("%s: %+v", c.what, p.Facts.Verdict.Complaints)
		}
	}
}

// A wish changes only the pairs that it names.
func TestReplace(t *testing.T) {
	w := Host(WantsSecond(), Names(certdir.HostECDSA), Has(certdir.HostECDSA, "rsa-2048"))
	facts := w.Plan().Facts
	wish := facts.Replace(plan.Wish{Renew: true})
	if wish.From != facts.LeafID || len(wish.Others) != 1 || wish.Others["host-ecdsa"].Leaf != facts.Pairs[1].LeafID ||
		wish.Others["host-ecdsa"].Key != facts.Pairs[1].KeyID || facts.Pairs[1].LeafID == "" {
		t.Errorf("%+v", wish)
	}
	w.Wish = wish
	obtained := map[string]bool{}
	for _, act := range w.Plan().Actions {
		if act.Kind == plan.Obtain {
			obtained[act.Pair.Name] = true
		}
	}
	if !obtained["host"] || !obtained["host-ecdsa"] || len(obtained) != 2 {
		t.Errorf("asked for %v", obtained)
	}
}

// A member asks for one pair at a time, first for the host's own.
func TestHostAsksFirst(t *testing.T) {
	ask := Host(MemberOf("ca.home.example"), WantsSecond(), ExpiresIn(100*Day),
		StagedFor(certdir.HostECDSA, "rsa-2048")).Plan().Ask
	if ask == nil || ask.Request == nil || ask.Request.Pair != certdir.Host {
		t.Errorf("%+v", ask)
	}
	ask = Host(MemberOf("ca.home.example"), WantsSecond(), StagedFor(certdir.HostECDSA, "rsa-2048")).Plan().Ask
	if ask == nil || ask.Request == nil || ask.Request.Pair != certdir.HostECDSA || ask.Renew == nil ||
		len(ask.Holds) != 1 {
		t.Errorf("%+v", ask)
	}
}

// The hint about a bought certificate of another pair must not lead to the replacement of a bought host.cert.
func TestHintsOfOtherPairs(t *testing.T) {
	servers := Usage(x509.ExtKeyUsageServerAuth)
	for name, w := range map[string]World{
		"client":     Host(WantsClient(), Names(client), Bought(), Has(client, "client", Bought(), servers)),
		"host-ecdsa": Host(WantsSecond(), Names(second), Bought(), Has(second, "rsa-2048", Bought())),
	} {
		told := 0
		for _, p := range w.Plan().Problems {
			if !strings.HasSuffix(p.Path, "/"+name+".cert") || p.Reason != plan.ForeignKept &&
				p.Reason != plan.WrongPurpose {
				continue
			}
			told++
			if !strings.Contains(p.Hint, "move "+name+".key and "+name+".cert away") {
				t.Errorf("%s [%s]: %s", name, p.Reason, p.Hint)
			}
		}
		if want := map[string]int{"client": 2, "host-ecdsa": 1}[name]; told != want {
			t.Errorf("%s: %d problems, want %d", name, told, want)
		}
	}
}
