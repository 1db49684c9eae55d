package keeper

import (
	"context"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// The clock ran ahead, and a certificate from the future lies there when it is set right. What the hint says,
// `mailcertd renew --trust-clock`, mends it at the first try.
func TestTrustClock(t *testing.T) {
	for _, ahead := range []time.Duration{3 * 24 * time.Hour, 40 * 24 * time.Hour, 300 * 24 * time.Hour} {
		s := newSite(t, "")
		s.settle(plan.Wish{})
		right := s.now
		s.now = right.Add(ahead)
		s.settle(plan.Wish{Renew: true, From: plan.LeafID(s.leaf())})
		s.now = right.Add(time.Hour)
		future := plan.LeafID(s.leaf())
		r, err := s.Settle(context.Background(), plan.Wish{Once: true, Renew: true, From: future, TrustClock: true})
		if err != nil {
			t.Errorf("%s ahead: %v", ahead, err)
		}
		if plan.LeafID(s.leaf()) == future || s.leaf().NotBefore.After(s.now) {
			t.Errorf("%s ahead: the certificate begins at %s", ahead, s.leaf().NotBefore)
		}
		if why := s.complete(r); why != "" {
			t.Errorf("%s ahead: %s", ahead, why)
		}
		r = s.Check(context.Background(), plan.Wish{})
		if reported(r.Plan, plan.ClockBehind) {
			t.Errorf("%s ahead: the clock is still not believed: %+v", ahead, r.Plan.Problems)
		}
	}
}
