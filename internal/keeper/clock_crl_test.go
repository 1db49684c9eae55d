package keeper

import (
	"context"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A host was off, and meanwhile sendmail's CRL has expired, so that sendmail refuses every client. An hour after the
// start, long before the clock is believed, there is a CRL that is valid by the clock and by the time that was seen
// last. Nothing else is changed.
func TestCRLOverWhileDoubted(t *testing.T) {
	for _, days := range []string{"1", "2", "7"} {
		s := newSite(t, "crl: {install: true, days: "+days+"}")
		s.settle(plan.Wish{})
		s.runs(2 * aDay)
		right, leaf := s.now, pki.Fingerprint(s.leaf())
		s.now = right.Add(10 * aDay)
		s.runs(time.Minute)
		if p := problem(s.Check(context.Background(), plan.Wish{}).Plan, plan.CRLStale); p == nil {
			t.Errorf("%s days: sendmail refuses everybody, and that is not reported", days)
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
			t.Errorf("%s days: after the clock was corrected: %s", days, why)
		}
	}
}
