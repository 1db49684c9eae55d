// Package keeper is the core that every verb and the daemon call: it observes the disk and sendmail, lets package plan
// decide, carries the plan out under the lock, and lets package pickup tell sendmail.
package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// Keeper keeps the files of one host. It has no lock and is not safe for concurrent use: one loop owns it and its
// parts.
type Keeper struct {
	*base
	// CA is the private CA of this host.
	CA *PrivateCA

	run        *run
	state      *stateFile
	candidates *candidates
	observer   *observer
	installer  *installer
	applier    *applier
	asker      *asker
	tlsa       *tlsaAsker
	pickup     *pickup.Teller
	notifier   *pickup.Notifier
	problems   *problemLog
	wake       chan struct{}
}

// New makes a Keeper. It reads nothing from the disk yet.
func New(o Options) *Keeper {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.NotifyFor <= 0 {
		o.NotifyFor = pickup.CommandPatience
	}
	if o.Log == nil {
		o.Log = func(Event) {}
	}
	if o.Progress == nil {
		o.Progress = func(string, time.Duration) func() { return func() {} }
	}
	if o.Step == nil {
		log := o.Log
		o.Step = func(what string) { log(Event{Level: Debug, Msg: what}) }
	}
	b := &base{o: o, cfg: o.Config}
	k := &Keeper{base: b, CA: &PrivateCA{base: b}, run: newRun(), state: &stateFile{base: b},
		candidates: &candidates{base: b, replies: map[string][]byte{}},
		problems:   &problemLog{base: b, told: map[string]bool{}}, wake: make(chan struct{}, 1)}
	k.observer = &observer{base: b, run: k.run, state: k.state, candidates: k.candidates, ca: k.CA}
	k.installer = &installer{base: b, state: k.state}
	k.applier = &applier{base: b, run: k.run, state: k.state, candidates: k.candidates, ca: k.CA,
		installer: k.installer}
	k.asker = &asker{base: b, state: k.state, candidates: k.candidates, answers: make(chan answer, 1), wake: k.wake}
	k.tlsa = &tlsaAsker{base: b, state: k.state, answers: make(chan tlsaAnswer, 1), wake: k.wake}
	k.pickup = pickup.New(k.pickupOptions(), k.pickupSettings())
	k.notifier = pickup.NewNotifier(k.pickupOptions(), k.cfg.Notify)
	return k
}

// run is what one run of Settle remembers. The next run begins with an empty one.
type run struct {
	failed   map[string]bool // the failure keys of the actions that failed
	obtained map[string]bool // the pairs, by name, for which the private CA has signed a certificate
	changed  int             // how often another program wrote a file that was about to be replaced
}

func newRun() *run { return &run{failed: map[string]bool{}, obtained: map[string]bool{}} }

// Wake returns the channel that gets a message when something has arrived, such as an answer, and the loop has
// to look again.
func (k *Keeper) Wake() <-chan struct{} { return k.wake }

// Config returns the configuration in force.
func (k *Keeper) Config() config.Config { return k.cfg }

// Result is the outcome of one run of the core.
type Result struct {
	pickup.View               // the last look: what is left to do, the problems, and the state of the pickup
	Done        []plan.Action // the actions that were carried out, in order
	Changed     bool          // something on the disk was changed
}

// Check observes and plans. It changes nothing.
func (k *Keeper) Check(ctx context.Context, wish plan.Wish) Result {
	obs := k.observer.observe(ctx)
	return Result{View: pickup.View{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}}
}

// maxRounds is how often one run observes, plans and acts. A first boot takes three rounds. If the plan is still not
// empty after the last round, that is a fault of mailcertd and is reported.
const maxRounds = 8

// endPatience is how long an interrupted verb waits for the commands that it has started.
const endPatience = 1500 * time.Millisecond

// Settle makes the set complete, fulfils the wish and tells sendmail, and continues after failures. It returns the
// errors of essential steps. Result.Plan says what is left to do and which chores failed.
func (k *Keeper) Settle(ctx context.Context, wish plan.Wish) (Result, error) {
	*k.run = *newRun()
	// A Check after this run reports only the failures that the state remembers.
	defer func() { k.run.failed = map[string]bool{} }()
	lock, err := k.tryLock()
	k.observer.locked = err == nil
	defer func() { k.observer.locked = false }()
	r := k.Check(ctx, wish)
	pending := r.Plan.State.Pickup != nil || len(r.Plan.State.Notify) > 0
	if !k.hasWork(r.Plan, r.Observed) && !(wish.Once && pending) {
		lock.Unlock()
		k.problems.tell(r.Plan)
		return r, nil
	}
	if errors.Is(err, durable.ErrLocked) {
		if lock, err = k.lock(ctx); err == nil {
			k.observer.locked = true
			r = k.Check(ctx, wish) // the other mailcertd may have changed files while this one waited
		}
	}
	if err != nil {
		return r, err
	}
	defer func() {
		// A pickup gives the lock back while it waits, so this may be another lock than the one taken above.
		lock.Unlock()
		if wish.Once && ctx.Err() != nil {
			k.Close(endPatience)
		}
	}()
	defer k.state.writeHeldBack()
	var failed error
	for round := 0; ; round++ {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if r.Plan.Empty() {
			break
		}
		if round == maxRounds {
			failed = errors.Join(failed, fmt.Errorf("not complete after %d rounds: the next one %s", maxRounds,
				r.Plan.Actions[0].Text.Would()))
			break
		}
		acted, err := k.applier.apply(ctx, r.Observed, r.Plan)
		r.Done = append(r.Done, acted...)
		r.Changed = r.Changed || len(acted) > 0
		if cerr := ctx.Err(); cerr != nil {
			return r, cerr
		}
		failed = errors.Join(failed, err)
		k.again(ctx, &r, wish, touchedBy(r.Plan.Actions))
	}
	k.state.remember(r.Observed.State, r.Plan.State)
	if !wish.Once {
		k.tlsa.publishFirst(ctx, r.Plan)
	}
	k.notifier.Start(ctx, &r.View, wish.Once)
	failed = errors.Join(failed, k.pickup.Tell(ctx, &r.View, wish.Once, &lock))
	if wish.Once {
		failed = errors.Join(failed, k.notifier.Await(ctx, &r.View, &lock))
	}
	if lock == nil { // a pickup gave the lock back and could not get it again
		return r, failed
	}
	k.problems.tell(r.Plan)
	return r, failed
}

// again observes these parts again and plans again. The record in r of what was done stays.
func (k *Keeper) again(ctx context.Context, r *Result, wish plan.Wish, parts part) {
	k.observer.observeParts(ctx, &r.Observed, parts)
	r.Plan = plan.Make(k.cfg, r.Observed, wish, k.o.Now())
}

// hasWork says whether there is more to do than to look.
func (k *Keeper) hasWork(p plan.Plan, obs plan.Observed) bool {
	return !p.Empty() || !p.State.Equal(obs.State) || k.pickup.Due(p.State) || k.notifier.Due(p.State)
}

// Configure puts another configuration in force. Only the loop that owns the Keeper calls it.
func (k *Keeper) Configure(cfg config.Config) {
	k.cfg = cfg
	k.pickup.Configure(k.pickupSettings())
	k.notifier.Configure(k.cfg.Notify)
	k.tlsa.reread = true
	k.log(Info, "configuration read", "file", cfg.Path)
}

// Look is one turn of the daemon: it settles, and returns the time at which the daemon looks again at the latest. The
// zero time means that nothing is due.
func (k *Keeper) Look(ctx context.Context, why string) (time.Time, error) {
	k.log(Debug, "looking", "why", why)
	k.asker.arrivals(ctx)
	k.tlsa.arrivals(ctx)
	k.notifier.Note(ctx)
	r, err := k.Settle(ctx, plan.Wish{})
	if k.CA.database.Large() { // the runtime would keep what the pass used for four minutes: see bench/README.md
		debug.FreeOSMemory()
	}
	next := r.Plan.Next
	k.log(Debug, "looked", "done", len(r.Done), "next", next.UTC().Format(time.RFC3339))
	if waits := k.pickup.Waits(); waits > 0 && r.Plan.State.Pickup != nil {
		next = soonest(next, k.o.Now().Add(waits))
	}
	if err != nil {
		return soonest(next, k.o.Now().Add(time.Minute)), err
	}
	if d := r.Plan.State.Pickup; d != nil {
		next = soonest(next, d.Next)
	}
	if q := r.Plan.Ask; q != nil && !k.asker.asking {
		k.asker.askLater(ctx, *q)
	}
	return soonest(next, k.tlsa.askLater(ctx, r.Plan)), nil
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
