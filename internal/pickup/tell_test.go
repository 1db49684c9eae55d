package pickup

import (
	"testing"
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// A verb reports what the daemon saw since the verb began, and nothing older.
func TestSeenByDaemon(t *testing.T) {
	now := time.Now()
	at := now.UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		st   state.State
		told bool
	}{
		"seen":             {state.State{PickedUp: state.PickedUp{Set: "x", At: at, How: plan.Proven}}, true},
		"started later":    {state.State{PickedUp: state.PickedUp{Set: "x", At: at, How: plan.StartedLater}}, true},
		"no sendmail runs": {state.State{PickedUp: state.PickedUp{Set: "x", At: at, How: plan.NoneRunning}}, false},
		"before": {
			state.State{PickedUp: state.PickedUp{Set: "x", At: at.Add(-time.Second), How: plan.Proven}}, false},
		"another set": {state.State{PickedUp: state.PickedUp{Set: "y", At: at, How: plan.Proven}}, false},
		"it is not done yet": {state.State{Pickup: &state.Pickup{Set: "x"},
			PickedUp: state.PickedUp{Set: "x", At: at, How: plan.Proven}}, false},
	} {
		r := View{Plan: plan.Plan{State: c.st, Facts: plan.Facts{Set: "x"}}}
		if New(Options{}, Settings{}).SeenByDaemon(&r, now); (r.Pickup != nil) != c.told {
			t.Errorf("%s: %+v", name, r.Pickup)
		}
	}
}
