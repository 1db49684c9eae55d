package plan

import (
	"errors"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/state"
)

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute,
		7: time.Hour, 1000: time.Hour} {
		if got := Backoff(n); got != want {
			t.Errorf("Backoff(%d) = %s, want %s", n, got, want)
		}
	}
}

// The attempts at one issuer are one series; another issuer begins a new one.
func TestFailedBy(t *testing.T) {
	var f state.Failure
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, want := range []struct {
		by    string
		count int
	}{{"https://a", 1}, {"https://a", 2}, {"https://b", 1}, {"", 2}} {
		f = Failed(f, want.by, errors.New("away"), now.Add(time.Duration(i)*time.Hour))
		if f.Count != want.count || want.by != "" && f.By != want.by {
			t.Errorf("%d: %+v", i, f)
		}
	}
}

// Each kind of refusal has a wait of its own: a CA that was away for three weeks does not make the wait after the first
// failed challenge twelve hours long.
func TestBackoffOfEachKind(t *testing.T) {
	var f state.Failure
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	wait := func(err error) time.Duration {
		f = Failed(f, "", err, now)
		return f.Next.Sub(now)
	}
	for range 500 {
		if d := wait(issuer.Refusal{Kind: issuer.KindAway}); d > time.Hour {
			t.Fatalf("away: %s", d)
		}
	}
	for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute} {
		if d := wait(issuer.Refusal{Kind: issuer.KindChallenge}); d != want {
			t.Errorf("failed challenge %d: %s, want %s", i+1, d, want)
		}
	}
	if d := wait(issuer.Refusal{Kind: issuer.KindAway}); d != time.Minute {
		t.Errorf("away again: %s", d)
	}
	if wait(errors.New("another error")); f.Kind != "" || f.Count != 505 {
		t.Errorf("%+v", f)
	}
}

// A refusal is waited for, longer each time, and never less than the CA says; no answer of a CA makes it endless.
func TestAskAgain(t *testing.T) {
	now, day := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), 24*time.Hour
	for _, c := range []struct {
		kind  issuer.Kind
		n     int
		no    time.Duration // NotBefore, from now
		least time.Duration
		most  time.Duration
	}{
		{issuer.KindAway, 1, 0, time.Minute, time.Minute},
		{issuer.KindAway, 50, 0, time.Hour, time.Hour},
		{issuer.KindAway, 1, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute},
		{issuer.KindChallenge, 1, 0, 10 * time.Minute, 10 * time.Minute},
		{issuer.KindChallenge, 50, 0, 12 * time.Hour, 12 * time.Hour},
		{issuer.KindRateLimit, 1, 7 * day, 7 * day, 7 * day},
		{issuer.KindRateLimit, 50, 0, day, day},
		{issuer.KindRateLimit, 1, 4000 * day, 31 * day, 31 * day},
		{issuer.KindRateLimit, 1, -day, time.Hour, time.Hour},
		{"of tomorrow", 1, 0, time.Hour, time.Hour},
	} {
		no := issuer.Refusal{Kind: c.kind}
		if c.no != 0 {
			no.NotBefore = now.Add(c.no)
		}
		if d := askAgain(no, c.n, now).Sub(now); d < c.least || d > c.most {
			t.Errorf("%s, attempt %d, %s: %s", c.kind, c.n, c.no, d)
		}
	}
}
