package pickup

import (
	"context"
	"errors"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// Tell takes the pending pickup further, if its next attempt is due. A verb waits for the outcome, and releases the
// lock during a long wait so that files can be repaired. The daemon does not wait; `ensure` waits for a moment, and
// after a crash until it is clear whether a HUP was sent. Otherwise the pickup stays pending for a later look. The same
// instance never gets a second HUP, because the first one is noted.
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

// unsent reports whether it is still unclear if a noted HUP was sent.
func unsent(r *View, now time.Time) bool {
	d := r.Plan.State.Pickup
	return d != nil && plan.Telling{Pickup: *d, Instance: plan.Instance(r.Observed.MTA), Now: now}.Unsent()
}

// rest waits until a running command or question has ended, d at most.
func (t *Teller) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-t.o.Wake:
	case <-time.After(d):
	}
}

// SeenByDaemon sets the outcome for a verb's person where the daemon had the lock since then and made sendmail serve
// the files on disk. No pickup is pending then, and the verb would print nothing about it.
func (t *Teller) SeenByDaemon(r *View, since time.Time) {
	d := r.Plan.State.PickedUp
	if r.Pickup != nil || r.Plan.State.Pickup != nil || d.Set != r.Plan.Facts.Set ||
		d.At.Before(since.UTC().Truncate(time.Second)) {
		return
	}
	if d.How == plan.Proven || d.How == plan.StartedLater || d.How == plan.Unproven {
		r.Pickup = &Outcome{Result: d.How, Serial: diskSerial(r, ""), Addr: d.Addr, Detail: "seen by the daemon"}
	}
}
