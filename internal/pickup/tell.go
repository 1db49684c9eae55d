package pickup

import (
	"context"
	"errors"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// Tell goes on with the pending pickup, if its next attempt is due. A verb waits for the outcome;
// where that takes longer it gives the lock back meanwhile: file repair goes
// on. The daemon does not wait, and `ensure` only for a moment, and where a crash
// left open whether a HUP was sent until that shows: the pickup is pending, and a later
// look goes on with it. A second HUP is not sent to the same instance in any case,
// because the first is noted.
func (t *Teller) Tell(ctx context.Context, r *View, verb bool, lock **durable.Locked) error {
	begun := t.o.Now()
	err := t.deliver(ctx, r, verb)
	if !errors.Is(err, errWaiting) {
		return err
	}
	goesOn := func() bool { return verb && (!t.o.Brief || unsent(r, t.o.Now())) }
	if !goesOn() {
		return nil
	}
	defer t.o.Working("waiting until sendmail serves the new certificate; its greeting may take minutes",
		mta.Patience)()
	for errors.Is(err, errWaiting) {
		if !goesOn() {
			return nil
		}
		(*lock).Unlock()
		*lock = nil
		t.rest(ctx, pollMost)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l, lerr := t.o.Lock(ctx)
		if lerr != nil {
			return lerr
		}
		*lock = l
		t.look(ctx, r)
		if t.SeenByDaemon(r, begun); r.Pickup != nil {
			return nil
		}
		err = t.deliver(ctx, r, verb)
	}
	return err
}

// unsent says that it does not show yet whether a HUP that is noted was sent.
func unsent(r *View, now time.Time) bool {
	d := r.Plan.State.Pickup
	return d != nil && plan.Telling{Pickup: *d, Instance: plan.Instance(r.Observed.MTA), Now: now}.Unsent()
}

// rest waits until something that is out has come to its end, and no longer than d.
func (t *Teller) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-t.o.Wake:
	case <-time.After(d):
	}
}

// SeenByDaemon fills in what a person waits for where the daemon had the lock in between, since then, and has brought
// sendmail to serve the files on the disk: no pickup is pending then, and nothing would be logged about it.
func (t *Teller) SeenByDaemon(r *View, since time.Time) {
	d := r.Plan.State.Delivered
	if r.Pickup != nil || r.Plan.State.Pickup != nil || d.Set != r.Plan.Facts.Set ||
		d.At.Before(since.UTC().Truncate(time.Second)) {
		return
	}
	if d.How == plan.Proven || d.How == plan.StartedLater || d.How == plan.Unproven {
		r.Pickup = &Outcome{Result: d.How, Serial: diskSerial(r, ""), Addr: d.Addr, Detail: "seen by the daemon"}
	}
}
