package pickup

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// The commands of `notify` run beside the loop and without the lock, each by itself: one that hangs delays neither the
// certificate nor sendmail nor another command or verb. The state notes which commands must run before the files
// change, and which are running: after a crash a command runs again when the time of the interrupted run is over.

// OweNotify notes that a configured command must run for this set. A run for an older set that is under way ends first.
func OweNotify(st *state.State, argv []string, set string) {
	m := maps.Clone(st.Notify)
	if m == nil {
		m = map[string]*state.NotifyPending{}
	}
	d := &state.NotifyPending{Set: set}
	if old := m[commandLine(argv)]; old != nil {
		d.Running = old.Running
	}
	m[commandLine(argv)] = d
	st.Notify = m
}

func commandLine(argv []string) string { return strings.Join(argv, " ") }

// Notifier runs the commands of `notify`. It is not safe for concurrent use; the loop that owns the files owns it.
type Notifier struct {
	o        Options
	commands [][]string
	errands  // by their command lines
}

// NewNotifier returns a Notifier. It does not run a command yet.
func NewNotifier(o Options, commands [][]string) *Notifier {
	return &Notifier{o, commands, newErrands(o.Wake)}
}

// Configure replaces the commands.
func (n *Notifier) Configure(commands [][]string) { n.commands = commands }

// Due reports whether a pending command is to be started now.
func (n *Notifier) Due(st state.State) bool {
	for line, d := range st.Notify {
		if d.Due(n.o.Now()) && n.named[line] == nil {
			return true
		}
	}
	return false
}

// Start starts the pending commands, after noting in the state that they run, and forgets those that are no longer
// configured. impatient also starts failed ones whose backoff has not ended, because a person waits. The caller holds
// the lock.
func (n *Notifier) Start(ctx context.Context, r *View, impatient bool) {
	before := r.Plan.State
	if len(before.Notify) == 0 {
		return
	}
	st, now := before.Clone(), n.o.Now()
	m, start := map[string]*state.NotifyPending{}, [][]string{}
	for _, argv := range n.commands {
		line := commandLine(argv)
		d := st.Notify[line]
		if d == nil || m[line] != nil {
			continue
		}
		if m[line] = d; (d.Due(now) || impatient && !d.Runs(now)) && n.named[line] == nil {
			d.Running = now.UTC().Truncate(time.Second).Add(n.o.NotifyFor + time.Second + killed)
			start = append(start, argv)
		}
	}
	st.Notify = m
	n.o.Remember(before, st)
	r.Plan.State = st
	for _, argv := range start {
		line, patience := commandLine(argv), n.o.NotifyFor
		n.start(ctx, line, m[line].Set, func(ctx context.Context) (error, error) {
			return run(ctx, argv, patience)
		})
	}
}

// killed is the second that package command gives a command to end, and one more for a busy machine.
const killed = 2 * time.Second

// Await waits, without the lock, for the commands that this verb started, and notes their outcome.
func (n *Notifier) Await(ctx context.Context, r *View, lock **durable.Locked) error {
	if len(n.running(false)) == 0 {
		return nil
	}
	if *lock != nil {
		(*lock).Unlock()
		*lock = nil
	}
	for line, e := range n.running(false) {
		done := n.o.Working("running a notify command: "+line, n.o.NotifyFor)
		<-e.done // ends with the command's patience or with ctx
		done()
	}
	if ctx.Err() != nil { // a shutdown is no failure of the command, which stays pending
		return ctx.Err()
	}
	l, err := n.o.Lock(ctx)
	if err != nil {
		return err
	}
	*lock = l
	before := n.o.State()
	st := before.Clone()
	n.take(&st)
	n.o.Remember(before, st)
	r.Plan.State = st
	return nil
}

// Note notes the outcome of the commands that have ended; the daemon calls it.
func (n *Notifier) Note(ctx context.Context) {
	if ctx.Err() == nil && len(n.running(true)) > 0 {
		n.o.Change(ctx, n.take)
	}
}

// running returns the commands by their lines; over selects those that have ended.
func (n *Notifier) running(over bool) map[string]*errand {
	m := map[string]*errand{}
	for line, e := range n.named {
		if !over || e.over() {
			m[line] = e
		}
	}
	return m
}

// take notes the outcome of the commands that have ended. A failed one is tried again after a backoff; if the
// set has changed meanwhile, the command must run for the new set.
func (n *Notifier) take(st *state.State) {
	now := n.o.Now().UTC().Truncate(time.Second)
	for line, e := range n.running(true) {
		n.finished(line)
		if e.err == nil {
			n.o.Log(slog.LevelInfo, "a notify command succeeded", "command", line)
			if st.Notified == nil {
				st.Notified = map[string]string{}
			}
			st.Notified[line] = e.of
		}
		d := st.Notify[line]
		if d == nil { // the command is no longer configured
			continue
		}
		nd := *d
		nd.Running = time.Time{}
		switch {
		case e.err == nil && d.Set == e.of:
			delete(st.Notify, line)
			continue
		case e.err == nil:
			nd = state.NotifyPending{Set: d.Set}
		default:
			nd.Attempts++
			nd.LastError = errors.Join(e.err, e.said).Error()
			nd.Next = now.Add(plan.Backoff(nd.Attempts))
			n.o.Log(slog.LevelError, "a notify command failed", "reason", string(plan.NotifyPending), "command", line,
				"error", nd.LastError, "next", nd.Next.Format(time.RFC3339))
		}
		st.Notify[line] = &nd
	}
}
