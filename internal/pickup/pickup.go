// Package pickup tells sendmail and other programs about new files: it identifies sendmail, sends a HUP, proves what
// sendmail serves, runs the commands of `notify`, and starts a sendmail that did not survive the HUP.
package pickup

import (
	"context"
	"log/slog"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Outcome is the result of telling sendmail.
type Outcome struct {
	Result string // plan.Proven, plan.StartedLater, plan.NoneRunning, plan.Unproven, or "pending"
	Serial string // of the certificate that was seen, "" when none was
	Addr   string // where it was seen
	Detail string // for people: what happened
	// Unidentified says that the certificate was seen and that the process which serves it is unknown. A sendmail that
	// is identified later and is older than the files still gets its HUP.
	Unidentified bool
}

// View is the last observation and plan, and the result of telling sendmail since.
type View struct {
	Observed plan.Observed
	Plan     plan.Plan // what is left to do and to say
	Pickup   *Outcome  // nil when sendmail did not have to be told
}

// Settings come from the configuration and change when it is read again.
type Settings struct {
	CertsDir     string   // where the files are
	Probe        string   // auto, none, or an address
	StartCommand []string // starts a sendmail that did not survive its HUP; empty: it is not started
}

// Options connects a Teller and a Notifier to their owner, which observes, plans, and holds the lock and the state. All
// are required.
type Options struct {
	Now func() time.Time
	// Log writes one line: keys and values in turn, never a secret.
	Log func(level slog.Level, msg string, kv ...any)
	// Working announces work that may take long, until done is called. atMost is its limit; zero: unknown.
	Working func(what string, atMost time.Duration) (done func())
	// NotifyFor is how long each command of `notify` may run.
	NotifyFor time.Duration
	// Brief is set by `ensure`: it starts no sendmail, and waits only a moment for a sendmail that got a HUP.
	Brief bool
	// Wake receives a value when a command or a question has ended, so that the owner looks again. It has room for one.
	Wake chan struct{}

	Look func(context.Context) (plan.Observed, plan.Plan)
	// LookAtSendmail reads sendmail and the state again, and plans again with all else as it was seen.
	LookAtSendmail func(ctx context.Context, seen plan.Observed) (plan.Observed, plan.Plan)

	Identify func(context.Context) mta.Identity
	// Program is the configured sendmail; no other sendmail program is run.
	Program func() string
	Lock    func(context.Context) (*durable.Locked, error)
	// State is what is remembered; Remember changes it under the lock that the caller holds, Change under one of its
	// own.
	State    func() state.State
	Remember func(before, after state.State) error
	Change   func(context.Context, func(*state.State)) error
}

// Teller tells one sendmail. It is not safe for concurrent use; the loop that owns the files owns it.
type Teller struct {
	o Options
	s Settings
	errands
	// What is known of the pending pickup: the question that is out,
	// how long its answer may hold up a look, whom this process signalled
	// (plan.InstanceID), since when sendmail is gone, and how long until the next look
	// at it.
	proof     *proof
	budget    time.Duration
	signalled string
	goneSince time.Time
	// startEnded is when start_command was first seen to have ended.
	startEnded time.Time
	waits      time.Duration
}

// New returns a Teller. It does not tell sendmail yet.
func New(o Options, s Settings) *Teller {
	return &Teller{o: o, s: s, errands: newErrands(o.Wake)}
}

// Configure replaces the settings.
func (t *Teller) Configure(s Settings) { t.s = s }

// Waits is the time to the next look at a sendmail that got a HUP; zero: no such look is due.
func (t *Teller) Waits() time.Duration { return t.waits }
