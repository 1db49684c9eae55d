package keeper

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// A bought second or client pair stays byte for byte and is reported. `renew --force` replaces it with a backup.
func TestPairsForeign(t *testing.T) {
	t.Parallel()
	for _, p := range []certdir.Pair{certdir.HostECDSA, certdir.Client} {
		s := newSite(t, threePairs)
		f := makeForeign(t, s.now)
		s.write(s.certs(p.KeyFile), f.key)
		s.write(s.certs(p.CertFile), f.cert)
		_ = os.Chmod(s.certs(p.KeyFile), 0o600)
		s.settle(plan.Wish{})
		same := func() bool {
			return bytes.Equal(s.content(p.KeyFile), f.key) && bytes.Equal(s.content(p.CertFile), f.cert)
		}
		s.later(250 * 24 * time.Hour)
		r := s.settle(plan.Wish{})
		if !same() {
			t.Fatalf("%s: it was replaced", p.Name)
		}
		if !slices.ContainsFunc(r.Plan.Problems, func(pr plan.Problem) bool {
			return pr.Reason == plan.ForeignKept &&
				pr.Path == s.certs(p.CertFile)
		}) {
			t.Errorf("%s: it is not reported: %s", p.Name, reasons(r))
		}
		s.settle(s.allPairs(plan.Wish{Force: true}))
		if same() || !s.savedForGood(f.cert) {
			t.Errorf("%s: replaced %t, copied %t", p.Name, !same(), s.savedForGood(f.cert))
		}
		if why := s.settled(); why != "" {
			t.Error(why)
		}
	}
}

// A pair that is no longer configured is removed, with a backup of its files, if it is ours and no sendmail.cf names
// it. A person's pair stays.
func TestPairsNotWanted(t *testing.T) {
	t.Parallel()
	s := newPairs(t, threePairs)
	s.cfg.Key.Second, s.cfg.Client.Kind, s.cfg.Client.Issuer.Kind = "", "same", ""
	was := s.contents()
	if r := s.settle(plan.Wish{}); installs(r) != 1 || !strings.Contains(reasons(r)+fmt.Sprint(r.Done),
		string(plan.PairUnwanted)) {
		t.Errorf("%d transactions, %v", installs(r), r.Done)
	}
	for _, p := range []certdir.Pair{certdir.HostECDSA, certdir.Client} {
		if s.content(p.KeyFile) != nil || s.content(p.CertFile) != nil {
			t.Errorf("%s is still there", p.Name)
		}
	}
	if !bytes.Equal(s.content("host.cert"), []byte(was["host.cert"])) {
		t.Error("the host's own pair was changed")
	}
	if r := s.settle(plan.Wish{}); r.Changed {
		t.Errorf("a second ensure: %v", r.Done)
	}
	f := makeForeign(t, s.now)
	s.write(s.certs("client.key"), f.key)
	s.write(s.certs("client.cert"), f.cert)
	_ = os.Chmod(s.certs("client.key"), 0o600)
	r := s.settle(plan.Wish{})
	if !bytes.Equal(s.content("client.key"), f.key) || !bytes.Equal(s.content("client.cert"), f.cert) {
		t.Error("somebody's pair was removed")
	}
	if !strings.Contains(reasons(r), string(plan.ForeignKept)) && !strings.Contains(reasons(r),
		string(plan.PairUnwanted)) {
		t.Errorf("it is not reported: %s", reasons(r))
	}
}

// restore brings back every pair in a backup, and purge removes all of them.
func TestPairsRestorePurge(t *testing.T) {
	t.Parallel()
	s := newPairs(t, threePairs)
	was := s.contents()
	s.later(24 * time.Hour)
	s.settle(s.allPairs(plan.Wish{Rekey: true}))
	if _, err := s.Restore(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	for name, text := range s.contents() {
		if text != was[name] {
			t.Errorf("%s has another content than before", name)
		}
	}
	if why := s.settled(); why != "" {
		t.Error(why)
	}
	st, _ := state.Load(s.cfg.State.Dir)
	for _, p := range certdir.Pairs() {
		if st.Pair(p.Name).Hold != pki.Fingerprint(s.leafIn(p)) {
			t.Errorf("%s is restored but not marked to be kept", p.Name)
		}
	}
	if err := s.Purge(t.Context(), func([]Purged) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for name, text := range s.contents() {
		if text != "" && name != "host.key" { // newPairs put that file there itself
			t.Errorf("purge leaves %s", name)
		}
	}
}

// Without the state, purge recognises each pair's certificate by the CA that issued it.
func TestPairsPurgeWithoutState(t *testing.T) {
	t.Parallel()
	s := newPairs(t, threePairs)
	if err := os.RemoveAll(s.cfg.State.Dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), func([]Purged) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, p := range certdir.Pairs() {
		if s.content(p.CertFile) != nil {
			t.Errorf("purge leaves %s", p.CertFile)
		}
	}
}
