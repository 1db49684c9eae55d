package keeper

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

const rsaFirst = "key: {type: rsa-2048, second: ecdsa-p256}\n"

// exchange swaps key.type and key.second.
func (s *site) exchange() { s.cfg.Key.Type, s.cfg.Key.Second = s.cfg.Key.Second, s.cfg.Key.Type }

// kinds returns the key types of the server pairs, the host's own first.
func (s *site) kinds() string {
	var out []string
	for _, p := range []certdir.Pair{certdir.Host, certdir.HostECDSA} {
		key, leaf := pki.ReadKeyFile(s.content(p.KeyFile)), s.leafIn(p)
		if leaf == nil || !pki.SamePublicKey(key.Public, leaf.PublicKey) {
			return p.Name + " is not a pair"
		}
		out = append(out, pki.TypeOf(leaf.PublicKey).Family())
	}
	return strings.Join(out, " ")
}

// When key.type and key.second are swapped, working keys stay. New keys that a person asks for are swapped in one
// transaction, on a CA host and on a member.
func TestPairsChangePlaces(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "", rsaFirst+"client: {issuer: {ssh: {target: ca}}}\n", "mx.example.org")
	m := f.members["mx.example.org"]
	f.day(0)
	for what, s := range map[string]*site{"CA host": newPairs(t, rsaFirst), "member": m} {
		was := s.contents()
		s.exchange()
		if r := s.settle(plan.Wish{}); r.Changed || s.kinds() != "rsa ecdsa" {
			t.Errorf("%s: only the settings were changed, and mailcertd did %v: %s", what, r.Done, s.kinds())
		}
		s.later(24 * time.Hour)
		if _, err := s.Renew(t.Context(), s.allPairs(plan.Wish{Once: true, Rekey: true})); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for name, text := range s.contents() {
			if text == was[name] && (what == "member" || !strings.HasPrefix(name, "client")) {
				t.Errorf("%s: %s has not changed", what, name)
			}
		}
		if s.kinds() != "ecdsa rsa" {
			t.Errorf("%s: the keys are %s, want ecdsa rsa", what, s.kinds())
		}
		if r := s.settle(plan.Wish{}); r.Changed {
			t.Errorf("%s: another ensure did %v", what, r.Done)
		}
	}
}

// Such a swap is interrupted at any operation. After the next ensure there is one key of each type.
func TestPairsChangePlacesCutShort(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut short")
	for n := int64(1); ; n += 7 {
		s := newPairs(t, rsaFirst)
		s.exchange()
		s.later(24 * time.Hour)
		w := s.allPairs(plan.Wish{Once: true, Rekey: true})
		start, hit := s.o.Disk.Points(), false
		s.o.Disk.Before = func(p durable.Point) error {
			if hit = hit || p.N >= start+n; hit {
				return cut
			}
			return nil
		}
		s.Settle(context.Background(), w)
		if !hit {
			return
		}
		s.o.Disk.Before = nil
		s.Keeper = New(s.o)
		s.exchange()
		s.settle(plan.Wish{})
		if r := s.settle(plan.Wish{}); r.Changed || s.kinds() != "rsa ecdsa" && s.kinds() != "ecdsa rsa" {
			t.Errorf("operation %d: %s, another ensure did %v", n, s.kinds(), r.Done)
		}
	}
}

// A backup of only one pair is kept for that pair. host.cert, which was not restored, is still renewed when due.
func TestRestoredPairAlone(t *testing.T) {
	t.Parallel()
	s := newPairs(t, threePairs)
	s.write(s.certs("client.cert"), s.content("host.cert"))
	s.settle(plan.Wish{}) // only client.cert is replaced, by its own issuer
	st, _ := state.Load(s.cfg.State.Dir)
	was := st.Pair("host").Hold
	s.later(24 * time.Hour)
	w := s.allPairs(plan.Wish{Once: true})
	w.From = ""
	delete(w.Others, "host-ecdsa")
	s.settle(w)
	if _, err := s.Restore(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	st, _ = state.Load(s.cfg.State.Dir)
	if st.Pair("host").Hold != was || st.Pair("client").Hold != pki.Fingerprint(s.leafIn(certdir.Client)) {
		t.Errorf("kept certificates: %q and %q", st.Pair("host").Hold, st.Pair("client").Hold)
	}
}
