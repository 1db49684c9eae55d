package keeper

import (
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// A restored certificate is kept. A person who runs `renew` ends that, also for the case that the same certificate
// comes back later.
func TestRenewEndsTheHold(t *testing.T) {
	t.Parallel()
	s := newSite(t, "key: {type: ecdsa-p256}\n")
	s.settle(plan.Wish{})
	renew := func() {
		t.Helper()
		s.later(24 * time.Hour)
		was := s.leaf()
		s.settle(s.allPairs(plan.Wish{Once: true}))
		if s.leaf().Equal(was) {
			t.Fatal("renew did nothing")
		}
	}
	hold := func() string {
		l, _ := state.Load(s.cfg.State.Dir)
		return l.Pair("host").Hold
	}
	renew()
	if _, err := s.Restore(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{})
	if h := hold(); h != pki.Fingerprint(s.leaf()) {
		t.Fatalf("kept: %q", h)
	}
	renew()
	s.settle(plan.Wish{})
	if h := hold(); h != "" {
		t.Errorf("still kept after renew: %q", h)
	}
}
