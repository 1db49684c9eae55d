package keeper

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// daneSite is a site whose daemon has asked one name server, and seen the record of its key there or none.
func daneSite(t *testing.T, yaml string, seen bool) *site {
	t.Helper()
	s := newSite(t, yaml+"\ndns: {server: 127.0.0.1, resolver: '"+silentServer(t)+"', key_file: /tsig.key}")
	s.write(s.root+"/tsig.key", []byte(`key "k" { algorithm hmac-sha256; secret "c2VjcmV0"; };`))
	if err := os.Chmod(s.root+"/tsig.key", 0o600); err != nil {
		t.Fatal(err)
	}
	s.o.DANE = true
	s.settle(plan.Wish{})
	if s.saw(); seen {
		s.saw(dane.RecordOf(s.key(), time.Hour))
	}
	s.settle(plan.Wish{})
	return s
}

// key is the ID of the installed key.
func (s *site) key() string {
	s.t.Helper()
	data, err := os.ReadFile(s.Path("host.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pki.KeyFingerprint(pki.ReadKeyFile(data).Public)
}

// saw notes a look that has seen these records.
func (s *site) saw(records ...dane.Record) {
	s.tlsa.take(s.t.Context(), tlsaAnswer{look: dane.Look{At: s.now, Names: []dane.Name{{Name: "_25._tcp." + name + ".",
		Signed: dane.SignedYes, Servers: []dane.Server{{Name: "ns1.example.org.", Records: records}}}}}})
}

// rekey is `renew --rekey`, with --now where now is set.
func (s *site) rekey(now bool) (Result, error) {
	f := s.Check(s.t.Context(), plan.Wish{}).Plan.Facts
	return s.Renew(s.t.Context(), f.Replace(plan.Wish{Renew: true, Rekey: true, Now: now, Once: true}))
}

// said returns the worst severity of the problems with that reason, and their texts.
func said(r Result, reason plan.Reason) (worst plan.Severity, text string) {
	for _, p := range r.Plan.Problems {
		if p.Reason == reason {
			worst, text = max(worst, p.Severity), text+p.Text+"\n"
		}
	}
	return worst, text
}

// The record of a key that was lost is on its way before anybody waits for sendmail.
func TestLostKeyPublishedFirst(t *testing.T) {
	s := daneSite(t, "dane: {publish: update}", true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost := s.key()
	if err := os.Remove(s.Path("host.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(ctx, plan.Wish{}); err != nil { // Look would begin a round after it
		t.Fatal(err)
	}
	if s.key() == lost || !s.tlsa.asking || !strings.Contains(s.tlsa.tried, s.key()) {
		t.Errorf("asking: %v, tried %q", s.tlsa.asking, s.tlsa.tried)
	}
}

// renew --rekey asks the DNS, and shows a person that it waits. A DNS that is silent forbids the change of a key, also
// where no record was ever seen: the next key waits for an answer, and --now uses it.
func TestRekeyWithSilentDNS(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{true, false} {
		s := daneSite(t, "dane: {publish: none}", seen)
		var shown []string
		s.o.Progress = func(what string, atMost time.Duration) func() {
			shown = append(shown, what)
			if atMost != tlsaWaited && strings.Contains(what, "DNS") {
				t.Errorf("%s for %s", what, atMost)
			}
			return func() {}
		}
		before, began := s.key(), time.Now()
		r, err := s.rekey(false)
		if took := time.Since(began); err != nil || took > tlsaWaited+5*time.Second {
			t.Fatalf("%s: %v", took, err)
		}
		if !slices.ContainsFunc(shown, func(s string) bool { return strings.Contains(s, "asking the DNS") }) {
			t.Errorf("nothing is shown: %q", shown)
		}
		worst, text := said(r, plan.TLSAUnknown)
		if s.key() != before || worst != plan.Warning || !strings.Contains(text, "_25._tcp."+name) {
			t.Errorf("records were seen: %v; changed: %v: %s", seen, s.key() != before, text)
		}
		waits := map[bool]string{true: "not every name server has its",
			false: "not answered whether there are TLSA records"}
		if _, text = said(r, plan.TLSAChange); !strings.Contains(text, waits[seen]) {
			t.Errorf("records were seen: %v: %s", seen, text)
		}
		r, err = s.rekey(true)
		if worst, text = said(r, plan.TLSAUnknown); err != nil || s.key() == before || worst != plan.Warning {
			t.Errorf("records were seen: %v; with --now: %v, changed: %v: %s", seen, err, s.key() != before, text)
		}
	}
}

// renew --rekey says that a daemon is needed if none runs, and renew --rekey --now only warns of what it has done.
func TestRekeySays(t *testing.T) {
	s := daneSite(t, "dane: {publish: update}", true)
	s.cfg.DNS.Resolver = closedPort(t)
	before := s.key()
	r, err := s.rekey(false)
	worst, text := said(r, plan.DaemonDown)
	if err != nil || s.key() != before || worst != plan.Warning ||
		!strings.Contains(text, "no mailcertd daemon is running") {
		t.Errorf("%v: %s", err, text)
	}
	for who, r := range map[string]Result{"check": s.Examine(t.Context(), plan.Wish{Once: true}),
		"status": s.Report(t.Context(), plan.Wish{})} {
		if _, text := said(r, plan.DaemonDown); !strings.Contains(text, "the next key of host.key is not used") {
			t.Errorf("%s says %q", who, text)
		}
	}
	lock, err := s.LockDaemon()
	if err != nil {
		t.Fatal(err)
	}
	r, err = s.rekey(false)
	_, down := said(r, plan.DaemonDown)
	if _, text = said(r, plan.TLSAChange); err != nil || down != "" ||
		!strings.Contains(text, "1 hour after all have it") {
		t.Errorf("%v: %s", err, text)
	}
	lock.Unlock()
	r, err = s.rekey(true)
	worst, text = said(r, plan.TLSAChange)
	if err != nil || s.key() == before || worst != plan.Warning || !strings.Contains(text, "for up to 1 hour") {
		t.Errorf("%v: %s", err, text)
	}
	if worst, text = said(s.Check(t.Context(), plan.Wish{}), plan.TLSAChange); worst != plan.Error {
		t.Errorf("check says: %s", text)
	}
	r, err = s.rekey(false) // the change before it is not over
	worst, text = said(r, plan.TLSAChange)
	if err != nil || worst != plan.Error || !strings.Contains(text, "is not made") {
		t.Errorf("%v: %s", err, text)
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// purge removes a key, and no TLSA record: it says which record must go first.
func TestPurgeNamesTLSA(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{true, false} {
		s := daneSite(t, "", seen)
		list, err := s.PurgeList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := slices.ContainsFunc(list, func(p Purged) bool {
			return strings.HasPrefix(p.Path, "_25._tcp."+name+" TLSA 3 1 1 "+s.key()) && p.Kept != ""
		})
		if told != seen {
			t.Errorf("the record is there: %v; purge names it: %v\n%+v", seen, told, list)
		}
		if err := s.Purge(t.Context(), agreed); err != nil {
			t.Error(err)
		}
	}
}

// renew --rekey --dry-run asks the DNS as the real run does, and remembers nothing of it.
func TestRekeyForeseen(t *testing.T) {
	t.Parallel()
	s := daneSite(t, "dane: {publish: none}", false)
	s.cfg.DNS.Resolver = closedPort(t)
	before := snapshot(t, s.root)
	f := s.Check(t.Context(), plan.Wish{}).Plan.Facts
	r := s.Foresee(t.Context(), f.Replace(plan.Wish{Renew: true, Rekey: true, Once: true}))
	if worst, text := said(r, plan.TLSAUnknown); worst != plan.Warning || !strings.Contains(text, "_25._tcp."+name) {
		t.Errorf("the DNS that cannot be asked is not named: %q", text)
	}
	if snapshot(t, s.root) != before {
		t.Error("something was changed")
	}
}
