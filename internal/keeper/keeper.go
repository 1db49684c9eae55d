// Package keeper is the core that every verb and the daemon call: observe the
// disk and sendmail, let plan decide, apply the decision under the lock, and
// deliver it to sendmail.
package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// Options is what a Keeper needs from outside. Config, Disk, Now and Host are
// required.
type Options struct {
	Config config.Config
	Disk   *durable.Disk
	Now    func() time.Time
	Rand   io.Reader // nil: crypto/rand
	// Host says what the system and rc.conf call this host.
	Host func(context.Context) plan.Host
	// Build is when this program was built; zero: unknown.
	Build time.Time
	// UID is the effective user ID; 0 means that owners can be set and that
	// sendmail is taken to run as root.
	UID uint32
	// Log takes one line per decision; nil: nothing is told.
	Log func(Event)
	// Issuer is asked for certificates where the CA is on another host; nil: over ssh, as configured.
	Issuer issuer.Issuer
	// NotifyFor bounds each command of `notify`; zero: a minute. One that takes
	// longer is tried again later.
	NotifyFor time.Duration
	// Brief is what `ensure` is, which runs before sendmail does: it starts none, and
	// waits only a moment for one that it told.
	Brief bool
	// Progress tells a terminal of work that may take long, until done is called.
	// atMost is its limit; zero: none is known. nil: nothing is told.
	Progress func(what string, atMost time.Duration) (done func())
}

// Level is how loud an event is.
type Level = slog.Level

// The levels, as log levels.
const (
	Debug = slog.LevelDebug
	Info  = slog.LevelInfo
	Warn  = slog.LevelWarn
	Fail  = slog.LevelError
)

// Event is one decision or result, for the log. KV are key and value in turn;
// no value is ever a secret.
type Event struct {
	Level Level
	Msg   string
	KV    []any
}

// Keeper keeps one host's files. It is not safe for concurrent use: one loop
// owns it.
type Keeper struct {
	o   Options
	cfg config.Config
	// rc is how rc.conf has sendmail run, as of the last look.
	rc mta.RC
	stateFile
	// failedNow are the failure keys of the actions that failed in this run.
	failedNow map[string]bool
	// changed is how often somebody wrote a file in this run while it was about to be replaced.
	changed int
	// obtained are the pairs, by name, for which a certificate was signed in this run.
	obtained map[string]bool
	// database remembers the CA's.
	database ca.Memory
	// passphrase was given by a person; nil: there is only the configured file.
	passphrase []byte
	unlocked   unlocked
	candidates
	// asking says that a question is out; its answer comes through answers.
	asking  bool
	answers chan answer
	wake    chan struct{}
	// pickup tells sendmail, and the commands of notify.
	pickup *pickup.Teller
	// told remembers which problems are in the log, by reason, path and text.
	told map[string]bool
	// testOnlyStillEvery stands for stillEvery; zero: that.
	testOnlyStillEvery time.Duration
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
	k := &Keeper{o: o, cfg: o.Config, told: map[string]bool{}, failedNow: map[string]bool{},
		obtained: map[string]bool{},
		answers:  make(chan answer, 1), wake: make(chan struct{}, 1)}
	k.use(k.cfg)
	k.pickup = pickup.New(k.pickupOptions(), k.pickupSettings())
	return k
}

// use puts a configuration in force for the parts of a Keeper.
func (k *Keeper) use(cfg config.Config) {
	k.cfg = cfg
	k.stateFile.disk, k.stateFile.dir, k.stateFile.log = k.o.Disk, cfg.State.Dir, k.log
	k.candidates.disk, k.candidates.stateDir, k.candidates.tell = k.o.Disk, cfg.State.Dir, k.log
	if k.replies == nil {
		k.replies = map[string][]byte{}
	}
}

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
	obs := k.observe(ctx)
	return Result{View: pickup.View{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}}
}

// maxRounds bounds look, decide and act. A first boot takes three rounds; a
// plan that is still not empty then is a fault that is reported.
const maxRounds = 8

// lockPatience is how long a verb waits for another mailcertd. A proof may
// take over a minute: with an unqualified host name sendmail sleeps 60 s.
const lockPatience = 3 * time.Minute

// endPatience is how long a verb that is interrupted waits for its commands to end.
const endPatience = 1500 * time.Millisecond

// Settle makes everything complete, fulfils the wish and tells sendmail, whatever fails on the way. It returns the
// errors of essential steps; Result.Plan then says what is left, and what failed beside it.
func (k *Keeper) Settle(ctx context.Context, wish plan.Wish) (Result, error) {
	k.failedNow, k.obtained, k.changed = map[string]bool{}, map[string]bool{}, 0
	defer func() { k.failedNow = map[string]bool{} }() // the next run is another one
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
	defer k.writeHeldBack()
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
		acted, err := k.apply(ctx, r.Observed, r.Plan)
		r.Done = append(r.Done, acted...)
		r.Changed = r.Changed || len(acted) > 0
		if cerr := ctx.Err(); cerr != nil {
			return r, cerr
		}
		failed = errors.Join(failed, err)
		k.again(ctx, &r, wish, touchedBy(r.Plan.Actions))
	}
	k.remember(r.Observed.State, r.Plan.State)
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
	k.observeParts(ctx, &r.Observed, parts)
	r.Plan = plan.Make(k.cfg, r.Observed, wish, k.o.Now())
}

// hasWork says that more than looking is to be done.
func (k *Keeper) hasWork(p plan.Plan, obs plan.Observed) bool {
	return !p.Empty() || !p.State.Equal(obs.State) || k.pickup.Due(p.State) || k.pickup.NotifyDue(p.State)
}

// tryLock takes the kernel's lock on the certs directory, which is made first
// when it is missing: it is the first thing that any plan would make. nil and
// durable.ErrLocked: another mailcertd has it.
func (k *Keeper) tryLock() (*durable.Locked, error) {
	dir := k.cfg.Certs.Dir
	if n := durable.Look(dir); n.Kind == durable.Missing && n.Err == nil {
		if err := k.o.Disk.MakeDirs(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the certs directory: %w", err)
		}
		_ = k.o.Disk.MakeDirs(k.cfg.State.Dir, 0o700) // where it cannot be made, who writes the state says so
	}
	return durable.TryLock(dir)
}

// lock is tryLock for who waits.
func (k *Keeper) lock(ctx context.Context) (*durable.Locked, error) {
	l, err := k.tryLock()
	if err == nil || !errors.Is(err, durable.ErrLocked) {
		return l, err
	}
	dir := k.cfg.Certs.Dir
	defer k.working("waiting until another mailcertd has finished with "+dir, lockPatience)()
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return durable.Lock(ctx, dir)
}

// LockDaemon takes the lock that makes a second daemon refuse to start: on the
// state directory, else on the CA's newcerts, for as long as the process
// lives. With neither there is no lock, and nil is returned.
func (k *Keeper) LockDaemon() (*durable.Locked, error) {
	dir := k.cfg.State.Dir
	if err := k.o.Disk.MkdirAll(dir, 0o700); err != nil {
		dir = k.cfg.CA.Dir + "/newcerts"
		switch n := durable.Look(dir); {
		case n.Err != nil: // whether another daemon runs is not known
			return nil, errors.Join(err, n.Err)
		case !n.IsDir:
			return nil, nil
		}
	}
	return durable.TryLock(dir)
}

// Configure puts another configuration in force.
func (k *Keeper) Configure(cfg config.Config) {
	k.use(cfg)
	k.pickup.Configure(k.pickupSettings())
	k.log(Info, "configuration read", "file", cfg.Path)
}

// Look is one turn of the daemon: settle, and say when to look again at the
// latest. The zero time means that nothing is due.
func (k *Keeper) Look(ctx context.Context, why string) (time.Time, error) {
	k.log(Debug, "looking", "why", why)
	k.arrivals(ctx)
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
	if q := r.Plan.Ask; q != nil && !k.asking {
		k.askLater(ctx, *q)
	}
	return next, nil
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (k *Keeper) log(l Level, msg string, kv ...any) { k.o.Log(Event{Level: l, Msg: msg, KV: kv}) }

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
