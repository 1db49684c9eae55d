package keeper

import (
	"context"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A host was off, and sendmail's CRL is over: it refuses everybody. When the clock
// has run on for an hour there is one that holds by that clock and by the one that
// was seen before, long before the clock is believed; nothing else is touched.
func TestCRLOverWhileDoubted(t *testing.T) {
	for _, days := range []string{"1", "2", "7"} {
		s := newSite(t, "crl: {install: true, days: "+days+"}")
		s.settle(plan.Wish{})
		s.runs(2 * aDay)
		right, leaf := s.now, pki.Fingerprint(s.leaf())
		s.now = right.Add(10 * aDay)
		s.runs(time.Minute)
		if p := problem(s.Check(context.Background(), plan.Wish{}).Plan, plan.CRLStale); p == nil {
			t.Errorf("%s days: it refuses everybody, and that is not told", days)
		}
		s.runs(70 * time.Minute)
		lists := ca.Observe(s.cfg.CA.Dir, ca.Filter{}).CRL.Lists
		for _, l := range lists {
			if l.List.ThisUpdate.After(right) || l.List.NextUpdate.Before(s.now) {
				t.Errorf("%s days: it was %s, and is %s: the CRL is of %s until %s", days, right, s.now,
					l.List.ThisUpdate, l.List.NextUpdate)
			}
		}
		r := s.Check(context.Background(), plan.Wish{})
		if !r.Plan.Empty() || problem(r.Plan, plan.CRLStale) != nil || !reported(r.Plan, plan.ClockAhead) ||
			pki.Fingerprint(s.leaf()) != leaf {
			t.Errorf("%s days: %s", days, reasons(r))
		}
		number := lists[0].List.Number
		s.runs(20 * time.Hour)
		if n := ca.Observe(s.cfg.CA.Dir, ca.Filter{}).CRL.Lists[0].List.Number; n.Cmp(number) != 0 && days == "7" {
			t.Errorf("%s days: number %s became %s while the clock was doubted", days, number, n)
		}
		s.now = right.Add(22 * time.Hour)
		s.runs(time.Minute)
		if why := s.valid(); why != "" {
			t.Errorf("%s days: set right: %s", days, why)
		}
	}
}
