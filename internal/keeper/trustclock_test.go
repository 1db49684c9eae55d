package keeper

import (
	"context"
	"os"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// The clock was ahead, and the certificate is not valid yet when it is corrected. `mailcertd renew --trust-clock`,
// which the hint names, repairs this at the first attempt.
func TestTrustClock(t *testing.T) {
	for _, ahead := range []time.Duration{3 * 24 * time.Hour, 40 * 24 * time.Hour, 300 * 24 * time.Hour} {
		s := newSite(t, "")
		s.settle(plan.Wish{})
		right := s.now
		s.now = right.Add(ahead)
		s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
		s.now = right.Add(time.Hour)
		future := pki.Fingerprint(s.leaf())
		r, err := s.Settle(context.Background(), plan.Wish{Once: true, Renew: true, From: future, TrustClock: true})
		if err != nil {
			t.Errorf("%s ahead: %v", ahead, err)
		}
		if pki.Fingerprint(s.leaf()) == future || s.leaf().NotBefore.After(s.now) {
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

// The CA has really expired while the host was off for long. `renew --trust-clock` makes the next generation and a
// certificate of it at the first attempt.
func TestTrustClockPastTheCA(t *testing.T) {
	for _, missing := range []bool{false, true} {
		s := newSite(t, "crl: {install: true}")
		s.settle(plan.Wish{})
		s.now = s.now.AddDate(11, 0, 0)
		if missing {
			if err := os.Remove(s.certs("host.cert")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.Settle(context.Background(),
			plan.Wish{Once: true, Renew: true, From: s.Check(context.Background(), plan.Wish{}).Plan.Facts.LeafID,
				TrustClock: true})
		if err != nil {
			t.Errorf("missing %v: %v", missing, err)
		}
		if why := s.complete(r); why != "" {
			t.Errorf("missing %v: %s; %s", missing, why, reasons(r))
		}
		if why := s.valid(); why != "" {
			t.Errorf("missing %v, the next look: %s", missing, why)
		}
	}
}
