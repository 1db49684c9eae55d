package pickup

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Between the end of the old sendmail and the pid file of the new one, no process can be identified. await must wait
// for the pid file, because the next look comes seconds later. A sendmail that stays away must not hold up the lock.
func TestGapOfARestart(t *testing.T) {
	for name, c := range map[string]struct {
		looks int // at a pid file that names no process
		want  error
	}{
		"a moment":      {3, nil},
		"it stays away": {1000, errWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, looks := time.Now(), 0
			old := mta.Identity{Instance: mta.Instance{Started: begun.Add(-time.Hour)}}
			teller := New(Options{Now: time.Now, Wake: make(chan struct{}, 1),
				Log:      func(slog.Level, string, ...any) {},
				Remember: func(state.State, state.State) error { return nil },
				Identify: func(context.Context) mta.Identity {
					if looks++; looks <= c.looks {
						return mta.Identity{Status: mta.NotRunning}
					}
					return mta.Identity{Status: mta.OK, Instance: mta.Instance{PID: 1, Started: time.Now()}}
				}}, Settings{Probe: "none"})
			teller.budget = inlineFor
			st := state.State{Pickup: &state.Pickup{Instance: plan.Instance(old),
				HUPs: []state.HUP{{Instance: plan.Instance(old), At: begun, Sent: true}}}}
			p, err := teller.await(t.Context(), &View{}, &st, old)
			if took := time.Since(begun); !errors.Is(err, c.want) || err == nil && p.Result != plan.Unproven ||
				took > inlineFor/2 {
				t.Errorf("after %s and %d looks: %+v, %v", took, looks, p, err)
			}
		})
	}
}
