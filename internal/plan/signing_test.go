package plan

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/state"
)

// A certificate that a person signs while the clock is doubted is valid by that clock and by the last believed time.
// Times are in days from now; the CA is 100 days old and valid for 1000.
func TestSigningTime(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	at := func(days int) time.Time { return now.AddDate(0, 0, days) }
	for _, c := range []struct {
		name         string
		clock        int
		begins, ends int // for a certificate of 90 days
		doubt        Reason
	}{
		{"right", 0, 0, 90, ""},
		{"a day later", 1, 1, 91, ""},
		{"ahead", 40, 0, 130, ClockAhead},
		{"far ahead", 400, 0, 490, ClockAhead},
		{"behind", -40, -40, 90, ClockBehind},
		{"before the CA", -150, -150, 90, ClockBehind},
		{"before the build", -15000, 0, 90, ClockImplaus},
		{"past the CA's end", 1000, 1000, 1090, ClockImplaus}, // the caller refuses to sign
	} {
		obs := Observed{Build: at(-300), State: state.State{HighWater: now}}
		obs.CA.Current = ca.Generation{Cert: &x509.Certificate{NotBefore: at(-100), NotAfter: at(900)}}
		s := SigningTime(config.Default(""), obs, at(c.clock))
		if begins, ends := s.At.Add(-s.Backdate), s.At.AddDate(0, 0, 90); !begins.Equal(at(c.begins).Add(-time.Hour)) ||
			!ends.Equal(at(c.ends)) {
			t.Errorf("%s: from %s to %s", c.name, begins, ends)
		}
		if s.Doubt == nil != (c.doubt == "") || s.Doubt != nil && s.Doubt.Reason != c.doubt {
			t.Errorf("%s: %+v", c.name, s.Doubt)
		}
	}
}

// While the clock is doubted, the next look comes within an hour, whatever is due by that clock, and its text says why.
// The text names a certificate that has expired by that clock.
func TestNextLookByADoubtedClock(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		days int
		says string
	}{
		{-15000, "before this program was built"}, {-40, "has seen 2026-06-01"},
		{40, "40 days after mailcertd last saw it: "},
		{300, "300 days after mailcertd last saw it; by this clock the certificate expired on 2027-02-01 12:00 UTC: "},
		{4000, "past the CA's end"},
	} {
		at := now.AddDate(0, 0, c.days)
		obs := Observed{Build: now.AddDate(0, 0, -300), State: state.State{HighWater: now}}
		obs.CA.Current = ca.Generation{Cert: &x509.Certificate{NotBefore: now.AddDate(0, 0, -100),
			NotAfter: now.AddDate(0, 0, 900)}}
		a := &assessment{cfg: config.Default(""), obs: obs, judgement: judgement{now: at}}
		a.issuers = issuersOf(a.cfg, obs)
		a.issuer = a.issuers[0]
		a.host = newPair(a, certdir.Host)
		a.pairs = []*pair{a.host}
		a.host.leaf = &x509.Certificate{NotBefore: now.AddDate(0, 0, -120), NotAfter: now.AddDate(0, 0, 245)}
		a.judgement = judgeClock(a)
		var f finding
		f.lookAt(now.AddDate(0, 0, 100), "renewal is due")
		p := a.plan(f.and(clockProblems(a)), obs.State)
		if wait := p.Next.Sub(at); wait <= 0 || wait > time.Hour || p.NextWhat != clockLooked {
			t.Errorf("%d days: it looks in %s: %s", c.days, wait, p.NextWhat)
		}
		if len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Text, c.says) {
			t.Errorf("%d days: %+v", c.days, p.Problems)
		}
	}
}
