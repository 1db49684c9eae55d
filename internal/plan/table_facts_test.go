package plan_test

import (
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// failedTwice is a sendmail that got its HUP, and did not serve the new set twice.
func failedTwice(d *state.Pickup) {
	d.HUPs = []state.HUP{{Instance: d.Instance, At: given.Now.Add(-time.Hour), Sent: true}}
	d.Attempts, d.Next, d.LastError = 2, given.Now.Add(90*time.Second), "127.0.0.1:25: connection refused"
}

// unseen is one of which nobody can see what it serves.
func unseen(d *state.Pickup) {
	failedTwice(d)
	d.Unseen, d.Failed = true, plan.InstanceID(d.Instance)
}

// proving is one that is being waited for.
func proving(d *state.Pickup) {
	failedTwice(d)
	d.Proving = given.Now.Add(time.Minute)
}
