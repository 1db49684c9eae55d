package keeper

import (
	"errors"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/state"
)

// Each kind of refusal has a wait of its own: a CA that was away for three weeks does not make the wait after the first
// failed challenge twelve hours long.
func TestBackoffOfEachKind(t *testing.T) {
	var st state.State
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	wait := func(err error) time.Duration {
		fail(&st, "obtain", err, now)
		return st.Failures["obtain"].Next.Sub(now)
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
	if wait(errors.New("another error")); st.Failures["obtain"].Kind != "" || st.Failures["obtain"].Count != 505 {
		t.Errorf("%+v", st.Failures["obtain"])
	}
}
