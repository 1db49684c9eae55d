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
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Options is what a Keeper needs from outside. Config, Disk, Now and Host are
// required.
type Options struct {
	Config config.Config
	// Load reads the configuration again, for Reload; nil: Reload keeps the old one.
	Load func() (config.Config, error)
	Disk *durable.Disk
	Now  func() time.Time
	Rand io.Reader // nil: crypto/rand
	// Host says what the system and rc.conf call this host.
	Host func(context.Context) plan.Host
	// Build is when this program was built; zero: unknown.
	Build time.Time
	// UID is the effective user ID; 0 means that owners can be set and that
	// sendmail is taken to run as root.
	UID uint32
	// Log takes one line per decision; nil: nothing is told.
	Log func(Event)
	// Ask puts a question to the CA on another host; nil: over ssh, as configured.
	Ask func(ctx context.Context, request []byte) ([]byte, error)
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
type Level int

// The levels, as log levels.
const (
	Debug Level = iota
	Info
	Warn
	Fail
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
	// memory is the state where it could not be written; nil: the disk has it.
	memory *state.State
	// unread says that the state file could not be read at the last look; apart,
	// that memory began without knowing what the file says.
	unread, apart bool
	// known is what certificate files held at the last look.
	known certdir.Cache
	// failedNow are the failure keys of the actions that failed in this run.
	failedNow map[string]bool
	// obtained says that a certificate was signed for this host in this run.
	obtained bool
	// database remembers the CA's.
	database ca.Memory
	// passphrase was given by a person; nil: there is only the configured file.
	passphrase []byte
	unlocked   unlocked
	// reply and accepted are kept here where they could not be written.
	reply, accepted []byte
	// asking says that a question is out; its answer comes through answers.
	asking  bool
	answers chan answer
	wake    chan struct{}
	// What is known of a debt that is being worked off: the question that is out,
	// how long its answer may hold up a look, whom this process signalled
	// (plan.InstanceID), since when sendmail is gone, and how long until the next look
	// at it.
	proof     *proof
	budget    time.Duration
	signalled string
	goneSince time.Time
	waits     time.Duration
	// told remembers which problems stand in the log, by what and where.
	told map[string]string
	// testOnlyStillEvery stands for stillEvery; zero: that.
	testOnlyStillEvery time.Duration
}

// New makes a Keeper. It looks at nothing yet.
func New(o Options) *Keeper {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.NotifyFor <= 0 {
		o.NotifyFor = commandPatience
	}
	if o.Log == nil {
		o.Log = func(Event) {}
	}
	if o.Progress == nil {
		o.Progress = func(string, time.Duration) func() { return func() {} }
	}
	return &Keeper{o: o, cfg: o.Config, told: map[string]string{}, failedNow: map[string]bool{},
		answers: make(chan answer, 1), wake: make(chan struct{}, 1)}
}

// Config is the configuration in force.
func (k *Keeper) Config() config.Config { return k.cfg }

// Result is what a run of the core came to.
type Result struct {
	Observed plan.Observed
	Plan     plan.Plan     // the last one: what is left to do and to say
	Done     []plan.Action // what was done, in order
	Changed  bool          // something on the disk is another now
	Pickup   *Pickup       // what became of a debt, nil when none was due
}

// Check observes and plans, and changes nothing.
func (k *Keeper) Check(ctx context.Context, wish plan.Wish) Result {
	obs := k.observe(ctx)
	return Result{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}
}

// maxRounds bounds look, decide and act. A first boot takes three rounds; a
// plan that is still not empty then is a fault that is reported.
const maxRounds = 8

// lockPatience is how long a verb waits for another mailcertd. A proof may
// take over a minute: with an unqualified host name sendmail sleeps 60 s.
const lockPatience = 3 * time.Minute

// Settle makes everything complete, fulfils the wish and tells sendmail, whatever fails on the way. It returns the
// errors of essential steps; Result.Plan then says what is left, and what failed beside it.
func (k *Keeper) Settle(ctx context.Context, wish plan.Wish) (Result, error) {
	r := k.Check(ctx, wish)
	if !k.hasWork(r.Plan, r.Observed) && !(wish.Once && r.Plan.State.Debt != nil) {
		k.tell(r.Plan)
		return r, nil
	}
	lock, err := k.lock(ctx)
	if err != nil {
		return r, err
	}
	defer func() { lock.Unlock() }() // another one, when it was given back meanwhile
	var done []plan.Action
	var failed error
	changed := false
	k.failedNow, k.obtained = map[string]bool{}, false
	defer func() { k.failedNow = map[string]bool{} }() // the next run is another one
	for round := 0; ; round++ {
		obs := k.observe(ctx)
		p := plan.Make(k.cfg, obs, wish, k.o.Now())
		r = Result{Observed: obs, Plan: p, Done: done, Changed: changed}
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if p.Empty() {
			break
		}
		if round == maxRounds {
			failed = errors.Join(failed, fmt.Errorf("still not complete after %d rounds: %s", maxRounds, p.Actions[0].Text))
			break
		}
		acted, err := k.apply(ctx, obs, p)
		done = append(done, acted...)
		changed = changed || len(acted) > 0
		r.Done, r.Changed = done, changed
		if cerr := ctx.Err(); cerr != nil {
			return r, cerr
		}
		failed = errors.Join(failed, err)
	}
	k.remember(r.Observed.State, r.Plan.State)
	failed = errors.Join(failed, k.tellSendmail(ctx, &r, wish.Once, &lock))
	if lock == nil { // it was given back and could not be had again
		return r, failed
	}
	k.notify(ctx, &r)
	k.tell(r.Plan)
	return r, failed
}

// hasWork says that more than looking is to be done.
func (k *Keeper) hasWork(p plan.Plan, obs plan.Observed) bool {
	return !p.Empty() || !p.State.Equal(obs.State) || k.debtDue(p.State) || k.notifyDue(p.State)
}

// lock takes the kernel's lock on the certs directory, which is made first
// when it is missing: it is the first thing that any plan would make.
func (k *Keeper) lock(ctx context.Context) (*durable.Locked, error) {
	dir := k.cfg.Certs.Dir
	if n := durable.Look(dir); n.Kind == durable.Missing && n.Err == nil {
		if err := k.o.Disk.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the certs directory: %w", err)
		}
	}
	l, err := durable.TryLock(dir)
	if err == nil || !errors.Is(err, durable.ErrLocked) {
		return l, err
	}
	defer k.working("waiting for another mailcertd to finish with "+dir, lockPatience)()
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
		if dir = k.cfg.CA.Dir + "/newcerts"; !durable.Look(dir).IsDir {
			return nil, nil
		}
	}
	return durable.TryLock(dir)
}

// Reload reads the configuration again. A wrong one is an error and leaves the
// old one in force.
func (k *Keeper) Reload(context.Context) error {
	if k.o.Load == nil {
		return nil
	}
	cfg, err := k.o.Load()
	if err != nil {
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	k.cfg = cfg
	k.log(Info, "configuration read", "file", cfg.Path)
	return nil
}

// Look is one turn of the daemon: settle, and say when to look again at the
// latest. The zero time means that nothing is due.
func (k *Keeper) Look(ctx context.Context, why string) (time.Time, error) {
	k.log(Debug, "looking", "why", why)
	k.arrivals(ctx)
	r, err := k.Settle(ctx, plan.Wish{})
	next := r.Plan.Next
	k.log(Debug, "looked", "done", len(r.Done), "next", next.UTC().Format(time.RFC3339))
	if k.waits > 0 && r.Plan.State.Debt != nil {
		next = soonest(next, k.o.Now().Add(k.waits))
	}
	if err != nil {
		return soonest(next, k.o.Now().Add(time.Minute)), err
	}
	if d := r.Plan.State.Debt; d != nil {
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
		if pr.Mended || pr.Reason == plan.StepFailed { // the attempt itself was told
			continue
		}
		id := string(pr.Reason) + "\x00" + pr.Path
		seen[id] = true
		if k.told[id] == pr.Text {
			continue
		}
		k.told[id] = pr.Text
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
