// Package keeper is the core that every verb and the daemon call: observe the
// disk and sendmail, let plan decide, apply the decision under the lock, and
// deliver it to sendmail.
package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// Keeper keeps one host's files. It is not safe for concurrent use: one loop owns it and its parts.
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
	// pickup tells sendmail and runs the commands of `notify`.
	pickup *pickup.Teller
	wake   chan struct{}
	// told has the problems that are in the log already, by reason, path and text.
	told map[string]bool
}

// New makes a Keeper. It looks at nothing yet.
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
		candidates: &candidates{base: b, replies: map[string][]byte{}}, told: map[string]bool{},
		wake: make(chan struct{}, 1)}
	k.observer = &observer{base: b, run: k.run, state: k.state, candidates: k.candidates, ca: k.CA}
	k.installer = &installer{base: b, state: k.state}
	k.applier = &applier{base: b, run: k.run, state: k.state, candidates: k.candidates, ca: k.CA,
		installer: k.installer}
	k.asker = &asker{base: b, state: k.state, candidates: k.candidates, answers: make(chan answer, 1), wake: k.wake}
	k.pickup = pickup.New(k.pickupOptions(), k.pickupSettings())
	return k
}

// run is what one run of Settle has come to know and the next one has to forget.
type run struct {
	failed   map[string]bool // the failure keys of the actions that failed
	obtained map[string]bool // the pairs, by name, for which the private CA has signed a certificate
	changed  int             // how often somebody wrote a file that was about to be replaced
}

func newRun() *run { return &run{failed: map[string]bool{}, obtained: map[string]bool{}} }

// Wake says that something arrived: look again.
func (k *Keeper) Wake() <-chan struct{} { return k.wake }

// Config is the configuration in force.
func (k *Keeper) Config() config.Config { return k.cfg }

// Result is what a run of the core came to.
type Result struct {
	pickup.View               // the last look: what is left to do and to say, and what became of telling sendmail
	Done        []plan.Action // what was done, in order
	Changed     bool          // something on the disk is another now
}

// Check observes and plans, and changes nothing.
func (k *Keeper) Check(ctx context.Context, wish plan.Wish) Result {
	obs := k.observer.observe(ctx)
	return Result{View: pickup.View{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}}
}

// maxRounds bounds look, decide and act. A first boot takes three rounds; a
// plan that is still not empty then is a fault that is reported.
const maxRounds = 8

// endPatience is how long a verb that is interrupted waits for its commands to end.
const endPatience = 1500 * time.Millisecond

// Settle makes everything complete, fulfils the wish and tells sendmail, whatever fails on the way. It returns the
// errors of essential steps; Result.Plan then says what is left, and what failed beside it.
func (k *Keeper) Settle(ctx context.Context, wish plan.Wish) (Result, error) {
	*k.run = *newRun()
	defer func() { k.run.failed = map[string]bool{} }() // a Check after this run reports only what the state remembers
	lock, err := k.tryLock()
	r := k.Check(ctx, wish)
	pending := r.Plan.State.Pickup != nil || len(r.Plan.State.Notify) > 0
	if !k.hasWork(r.Plan, r.Observed) && !(wish.Once && pending) {
		lock.Unlock()
		k.tell(r.Plan)
		return r, nil
	}
	if errors.Is(err, durable.ErrLocked) {
		if lock, err = k.lock(ctx); err == nil {
			r = k.Check(ctx, wish) // another program was at work meanwhile
		}
	}
	if err != nil {
		return r, err
	}
	defer func() {
		lock.Unlock() // another one, when it was given back meanwhile
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
	k.pickup.Notify(ctx, &r.View, wish.Once)
	failed = errors.Join(failed, k.pickup.Tell(ctx, &r.View, wish.Once, &lock))
	if wish.Once {
		failed = errors.Join(failed, k.pickup.AwaitNotified(ctx, &r.View, &lock))
	}
	if lock == nil { // it was given back and could not be had again
		return r, failed
	}
	k.tell(r.Plan)
	return r, failed
}

// again reads these parts again and plans again; what was done so far stays in r.
func (k *Keeper) again(ctx context.Context, r *Result, wish plan.Wish, parts part) {
	k.observer.observeParts(ctx, &r.Observed, parts)
	r.Plan = plan.Make(k.cfg, r.Observed, wish, k.o.Now())
}

// hasWork says that more than looking is to be done.
func (k *Keeper) hasWork(p plan.Plan, obs plan.Observed) bool {
	return !p.Empty() || !p.State.Equal(obs.State) || k.pickup.Due(p.State) || k.pickup.NotifyDue(p.State)
}

// Configure puts another configuration in force.
func (k *Keeper) Configure(cfg config.Config) {
	k.cfg = cfg
	k.pickup.Configure(k.pickupSettings())
	k.log(Info, "configuration read", "file", cfg.Path)
}

// Look is one turn of the daemon: settle, and say when to look again at the
// latest. The zero time means that nothing is due.
func (k *Keeper) Look(ctx context.Context, why string) (time.Time, error) {
	k.log(Debug, "looking", "why", why)
	k.asker.arrivals(ctx)
	k.pickup.NoteNotified(ctx)
	r, err := k.Settle(ctx, plan.Wish{})
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
	return next, nil
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tell logs each problem once: when it first shows, when its text changes, and
// when it is gone.
func (k *Keeper) tell(p plan.Plan) {
	seen := map[string]bool{}
	for _, pr := range p.Problems {
		if pr.Repairable || pr.Reason == plan.StepFailed { // the attempt itself was told
			continue
		}
		id := string(pr.Reason) + "\x00" + pr.Path + "\x00" + pr.Text // one path may have two of a reason
		seen[id] = true
		if k.told[id] {
			continue
		}
		k.told[id] = true
		kv := []any{"reason", string(pr.Reason)}
		if pr.Path != "" {
			kv = append(kv, "path", pr.Path)
		}
		if pr.Hint != "" {
			kv = append(kv, "hint", pr.Hint)
		}
		level := []Level{Info, Warn, Fail}[pr.Severity]
		if pr.Reason == plan.SendmailDown { // so it is at every boot
			level = Debug
		}
		k.log(level, pr.Text, kv...)
	}
	for id := range k.told {
		if !seen[id] {
			delete(k.told, id)
		}
	}
}
