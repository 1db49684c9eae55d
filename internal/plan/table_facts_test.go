package plan_test

import (
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// failedTwice is a pickup that failed twice after the HUP.
func failedTwice(d *state.Pickup) {
	d.HUPs = []state.HUP{{Instance: d.Instance, At: given.Now.Add(-time.Hour), Sent: true}}
	d.Attempts, d.Next, d.LastError = 2, given.Now.Add(90*time.Second), "127.0.0.1:25: connection refused"
}

// unseen is such a pickup where the probe cannot find out which certificate sendmail serves.
func unseen(d *state.Pickup) {
	failedTwice(d)
	d.Unseen, d.Failed = true, plan.InstanceID(d.Instance)
}

// proving is such a pickup that a process is proving now.
func proving(d *state.Pickup) {
	failedTwice(d)
	d.Proving = given.Now.Add(time.Minute)
}
