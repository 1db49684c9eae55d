package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/dns"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// silentServer is a name server that never answers.
func silentServer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// A DNS that is silent, and a TSIG key that is missing, hold up nothing: the certificate is made and renewed, failures
// have a backoff that survives a restart, and nothing is asked again and again.
func TestTLSAHoldsUpNothing(t *testing.T) {
	s := newSite(t, "dns: {server: 127.0.0.1, resolver: '"+silentServer(t)+"', key_file: /etc/none.key}\n"+
		"dane: {publish: update}")
	s.o.DANE = true
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	for range 3 {
		if _, err := s.Look(ctx, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 10*time.Second || !s.tlsa.asking {
		t.Errorf("three looks took %s; asking: %v", took, s.tlsa.asking)
	}
	if _, err := os.Stat(s.Path("host.cert")); err != nil {
		t.Error(err)
	}
	cancel()
	s.Close(5 * time.Second)

	// The DNS has answered, and there is no record: publishing fails for lack of the TSIG key.
	ctx = context.Background()
	s.tlsa = &tlsaAsker{base: s.base, state: s.state, answers: make(chan tlsaAnswer, 1), wake: s.wake}
	name := "_25._tcp." + name + "."
	s.tlsa.take(ctx, tlsaAnswer{look: dane.Look{At: s.now, Names: []dane.Name{{Name: name,
		Servers: []dane.Server{{Name: "ns1.example.org."}}}}}})
	failures := func() state.Failure {
		st, _ := state.Load(s.cfg.State.Dir)
		return st.Failures[plan.TLSAFailure]
	}
	select {
	case <-s.wake: // an answer of before
	default:
	}
	for i := range 5 {
		next, err := s.Look(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && (next.IsZero() || next.Sub(s.now) > time.Minute) {
			t.Errorf("the next try is at %s", next)
		}
		if i == 0 {
			select {
			case <-s.wake:
			default:
				t.Error("nobody looks again, so the next try waits for a chance")
			}
		}
	}
	f := failures()
	if f.Count != 1 || !strings.Contains(f.Error, "none.key") || f.Next.Sub(s.now) > time.Minute {
		t.Errorf("after five looks: %+v", f)
	}
	said := strings.Join(s.log, "\n")
	if n := strings.Count(said, "the TLSA records could not be published"); n != 1 {
		t.Errorf("said %d times:\n%s", n, said)
	}
	s.now = s.now.Add(2 * time.Minute)
	s.tlsa.tried = "" // as after a restart
	s.Look(ctx, "test")
	if f = failures(); f.Count != 2 || f.Next.Sub(s.now) < time.Minute {
		t.Errorf("after the backoff: %+v", f)
	}
	s.now = s.now.Add(61 * time.Second)
	if s.Look(ctx, "test"); failures().Count != 2 {
		t.Errorf("in the backoff: %+v", failures())
	}
	s.Configure(s.cfg) // a person may have corrected what fails
	s.Look(ctx, "test")
	if f = failures(); f.Count != 3 {
		t.Errorf("after the configuration was read: %+v", f)
	}
}

// Without a state that can be written a round is not begun again at once.
func TestTLSAWithoutState(t *testing.T) {
	s := newSite(t, "dns: {server: 127.0.0.1}\ndane: {publish: manual}")
	s.o.DANE = true
	p := plan.Plan{TLSA: dane.Decision{LookAt: s.now}}
	s.tlsa.last = s.now
	if at := s.tlsa.askLater(context.Background(), p); !at.Equal(s.now.Add(tlsaAgain)) || s.tlsa.asking {
		t.Errorf("the next round is at %s", at)
	}
	p.State.DANE.Looked = s.now // it was noted
	s.cfg.DNS.Resolver = silentServer(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if s.tlsa.askLater(ctx, p); !s.tlsa.asking {
		t.Error("no round begins")
	}
	s.Close(5 * time.Second)
}

// What the resolver says counts only where it runs on this host.
func TestSignatures(t *testing.T) {
	here, elsewhere := dns.Validation{AD: true, Local: true}, dns.Validation{AD: true}
	answers, silent := []dane.Server{{Name: "ns1."}}, []dane.Server{{Name: "ns1.", Err: "no answer in time"}}
	bogus := &dns.Error{Kind: dns.Failed, Detail: "SERVFAIL"}
	for _, c := range []struct {
		v       dns.Validation
		err     error
		servers []dane.Server
		want    dane.Signed
	}{
		{here, nil, answers, dane.SignedYes}, {elsewhere, nil, answers, dane.SignedUnknown},
		{dns.Validation{Local: true}, nil, answers, dane.SignedNo}, {dns.Validation{}, bogus, answers,
			dane.SignedBogus},
		{dns.Validation{}, bogus, silent, dane.SignedUnknown},
		{dns.Validation{}, fmt.Errorf("DNS: %w", dns.ErrBogus), silent, dane.SignedBogus},
		{dns.Validation{}, errors.New("no resolver"), answers, dane.SignedUnknown},
	} {
		got, why := signatures(c.v, c.err, dane.Name{Servers: c.servers})
		if got != c.want || (why == "") != (got == dane.SignedYes) {
			t.Errorf("%+v, %v: %q, %q", c.v, c.err, got, why)
		}
	}
}

// Edits that differ in the time to live alone are made at once, too.
func TestTTLIsAnEdit(t *testing.T) {
	of := func(ttl time.Duration) string {
		return textOf([]dane.Edit{{Name: "a.", Must: []dane.Record{dane.RecordOf("ab", ttl)}}})
	}
	if of(time.Hour) == of(time.Minute) {
		t.Error("edits are not told apart")
	}
}
