// Package pickup is telling sendmail, and others, of new files: identify it, send a HUP, prove what it serves, run the
// commands of `notify`, and start a sendmail again that is gone by the HUP.
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

// Outcome is what became of telling sendmail.
type Outcome struct {
	Result string // plan.Proven, plan.StartedLater, plan.NoneRunning, plan.Unproven, or "pending"
	Serial string // of the certificate that was seen, "" when none was
	Addr   string // where it was seen
	Detail string // for people: what happened
	// Unidentified says that the certificate was seen, and not which process serves it: a sendmail that is identified
	// later, and is older than the files, still has to get its HUP.
	Unidentified bool
}

// View is what was seen and planned last, and what became of telling sendmail since.
type View struct {
	Observed plan.Observed
	Plan     plan.Plan // what is left to do and to say
	Pickup   *Outcome  // nil when sendmail had not to be told
}

// Settings are those of the configuration. They change when it is read again.
type Settings struct {
	CertsDir     string     // where the files lie
	Probe        string     // auto, none, or an address
	StartCommand []string   // starts a sendmail that is gone by its HUP; empty: nobody does
	Notify       [][]string // the commands that are told of new files
}

// Options is what a Teller needs from outside. Who gives it observes, plans, and holds the lock and the state. All are
// required.
type Options struct {
	Now func() time.Time
	// Log takes one line: key and value in turn, none of them ever a secret.
	Log func(level slog.Level, msg string, kv ...any)
	// Working tells of work that may take long, until done is called. atMost is its limit; zero: nobody knows.
	Working func(what string, atMost time.Duration) (done func())
	// NotifyFor bounds each command of `notify`.
	NotifyFor time.Duration
	// Brief is what `ensure` is: it starts no sendmail, and waits only a moment for one that it told.
	Brief bool
	// Wake gets a word when something has come to its end: look again. It has room for one.
	Wake chan struct{}

	Look func(context.Context) (plan.Observed, plan.Plan)
	// LookAtSendmail reads sendmail and the state again, and plans again with all else as it was seen.
	LookAtSendmail func(ctx context.Context, seen plan.Observed) (plan.Observed, plan.Plan)

	Identify func(context.Context) mta.Identity
	// Program is the sendmail that is configured: it alone is ever run.
	Program func() string
	Lock    func(context.Context) (*durable.Locked, error)
	// State is what is remembered; Remember changes it under the lock that the caller holds, Change under one of its
	// own.
	State    func() state.State
	Remember func(before, after state.State) error
	Change   func(context.Context, func(*state.State)) error
}

// Teller tells one sendmail. It is not safe for concurrent use: the loop that owns the files owns it too.
type Teller struct {
	o Options
	s Settings
	// errands are commands that are out, or whose outcome has not been taken in.
	errands map[string]*errand
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

// New makes a Teller. It tells nobody yet.
func New(o Options, s Settings) *Teller {
	return &Teller{o: o, s: s, errands: map[string]*errand{}}
}

// Configure puts other settings in force.
func (t *Teller) Configure(s Settings) { t.s = s }

// Waits is how long until the next look at a sendmail that was told; zero: none is waited for.
func (t *Teller) Waits() time.Duration { return t.waits }
