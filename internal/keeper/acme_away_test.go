package keeper

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// live lets the daemon run for d, with a CA that has the same clock. It looks whenever it wants to, and after idle at
// the latest. Each look is followed by a call of each.
func (s *site) live(ca *simulatedCA, d, idle time.Duration, each func()) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); {
		var next time.Time
		ca.at(s.now)
		for range 5 {
			var err error
			if next, err = s.Look(context.Background(), "time"); err != nil {
				s.t.Fatalf("%v\n%s", err, strings.Join(s.log, "\n"))
			}
			if !s.asker.asking {
				break
			}
			<-s.Wake()
		}
		each()
		if next = soonest(next, s.now.Add(idle)); !next.After(s.now) {
			s.t.Fatalf("%s: the daemon wants to look at once, again and again\n%s", s.now, strings.Join(s.log, "\n"))
		}
		s.now = next
		s.believed()
	}
}

// A CA is away for three weeks while the renewal is due. The certificate stays as it is, also where it expires
// meanwhile. The CA is asked at least once an hour and at most once a minute, and the failure is reported. When the CA
// is back, one order renews the certificate within the hour, and the CA is not asked again.
func TestPublicCAAway(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		life    time.Duration
		before  time.Duration // from the first certificate until the CA is away
		expires bool
	}{{"90 days", 90 * aDay, 55 * aDay, false}, {"6 days", 6 * aDay, 3 * aDay, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, ca := publicSite(t, c.life)
			s.settle(plan.Wish{})
			s.live(ca, c.before, 2*aDay, func() {})
			if len(ca.orders) != 1 {
				t.Fatalf("%d orders\n%s", len(ca.orders), strings.Join(s.log, "\n"))
			}
			before := s.read(s.certs("host.cert"))

			ca.set(func() { ca.away, ca.asked = true, nil })
			// An hour later every question is about an order, and no longer about when to renew.
			due, looks := s.leaf().NotAfter.Add(-c.life/3).Add(time.Hour), 0
			s.live(ca, 3*week, time.Hour, func() {
				if !bytes.Equal(s.read(s.certs("host.cert")), before) {
					t.Fatalf("%s: another certificate lies there\n%s", s.now, strings.Join(s.log, "\n"))
				}
				if s.now.Before(due) {
					ca.set(func() { ca.asked = nil })
				} else if looks++; looks%100 == 1 { // check is slow
					if err := s.told(plan.IssuerAway); err != nil {
						t.Fatal(err)
					}
				}
			})
			if len(ca.asked) < 100 {
				t.Fatalf("asked %d times", len(ca.asked))
			}
			for i, at := range ca.asked[1:] {
				if gap := at.Sub(ca.asked[i]); gap < time.Minute-time.Second || gap > time.Hour {
					t.Fatalf("asked at %s and %s", ca.asked[i], at)
				}
			}
			if most := int(3*week/time.Hour) + 10; len(ca.asked) > most {
				t.Errorf("asked %d times", len(ca.asked))
			}
			if expired := s.now.After(s.leaf().NotAfter); expired != c.expires {
				t.Errorf("expired: %v", expired)
			}

			ca.set(func() { ca.away, ca.orders = false, nil })
			back := s.now
			s.live(ca, aDay, time.Hour, func() {})
			if len(ca.orders) != 1 || ca.orders[0].at.Sub(back) > time.Hour {
				t.Errorf("back since %s: %d orders", back, len(ca.orders))
			}
			if f := s.leaf(); bytes.Equal(s.read(s.certs("host.cert")), before) || s.now.After(f.NotAfter) {
				t.Error("the certificate is not renewed")
			}
			if err := s.told(plan.IssuerAway); err == nil {
				t.Error("it is still reported")
			}
		})
	}
}

// A CA that always names a window that is over gets one order at once, since it may be about to revoke the certificate,
// and then one a day.
func TestWindowAlwaysOver(t *testing.T) {
	t.Parallel()
	s, ca := publicSite(t, 90*aDay)
	ca.windows, ca.over = true, true
	s.settle(plan.Wish{})
	s.live(ca, time.Hour, 10*time.Minute, func() {})
	if len(ca.orders) != 2 {
		t.Errorf("%d orders in the first hour", len(ca.orders))
	}
	s.live(ca, 4*aDay, time.Hour, func() {})
	if n := len(ca.orders); n < 5 || n > 6 {
		t.Errorf("%d orders in four days", n)
	}
}

// told returns an error unless check reports that reason, with what to do.
func (s *site) told(reason plan.Reason) error {
	var text []string
	for _, p := range s.Check(context.Background(), plan.Wish{}).Plan.Problems {
		if p.Reason == reason && p.Hint != "" {
			return nil
		}
		text = append(text, p.Text)
	}
	return errors.New(strings.Join(text, "\n"))
}
