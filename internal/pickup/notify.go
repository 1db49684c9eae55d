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

// The commands of `notify` are run beside the loop and without the lock, each
// for itself: one that hangs holds up neither the certificate, nor sendmail, nor
// another command or verb. Which commands have to run is in the state before the files
// change, and so does who runs it: after a crash it is run again when the time of
// the one that was cut short is over.

// OweNotify notes that a configured command is to be run for this set. One that
// is under way for an older set is not joined by a second one.
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

func notifyErrand(line string) string { return "notify " + line }

func (t *Teller) NotifyDue(st state.State) bool {
	for line, d := range st.Notify {
		if d.Due(t.o.Now()) && t.errands[notifyErrand(line)] == nil {
			return true
		}
	}
	return false
}

// Notify starts the configured commands that are pending, after it is noted
// that they run. One that is configured no more is forgotten. impatient starts
// those too that failed and are not due again: a person is waiting. The caller
// holds the lock.
func (t *Teller) Notify(ctx context.Context, r *View, impatient bool) {
	before := r.Plan.State
	if len(before.Notify) == 0 {
		return
	}
	st, now := before.Clone(), t.o.Now()
	m, start := map[string]*state.NotifyPending{}, [][]string{}
	for _, argv := range t.s.Notify {
		line := commandLine(argv)
		d := st.Notify[line]
		if d == nil || m[line] != nil {
			continue
		}
		if m[line] = d; (d.Due(now) || impatient && !d.Runs(now)) && t.errands[notifyErrand(line)] == nil {
			d.Running = now.UTC().Truncate(time.Second).Add(t.o.NotifyFor + time.Second + killed)
			start = append(start, argv)
		}
	}
	st.Notify = m
	t.o.Remember(before, st)
	r.Plan.State = st
	for _, argv := range start {
		line, patience := commandLine(argv), t.o.NotifyFor
		t.errand(ctx, notifyErrand(line), m[line].Set, func(ctx context.Context) (error, error) {
			return run(ctx, argv, patience)
		})
	}
}

// killed is the second that a command gets to end, which package command bounds,
// and a second for a busy machine.
const killed = 2 * time.Second

// AwaitNotified waits, without the lock, for the commands that this verb has
// started, and notes what came of them.
func (t *Teller) AwaitNotified(ctx context.Context, r *View, lock **durable.Locked) error {
	if len(t.notified(false)) == 0 {
		return nil
	}
	if *lock != nil {
		(*lock).Unlock()
		*lock = nil
	}
	for line, e := range t.notified(false) {
		done := t.o.Working("running a notify command: "+line, t.o.NotifyFor)
		<-e.done // its patience bounds it, and ctx
		done()
	}
	if ctx.Err() != nil { // shutting down is not a failure of the command: it is pending as before
		return ctx.Err()
	}
	l, err := t.o.Lock(ctx)
	if err != nil {
		return err
	}
	*lock = l
	before := t.o.State()
	st := before.Clone()
	t.takeNotified(&st)
	t.o.Remember(before, st)
	r.Plan.State = st
	return nil
}

// NoteNotified takes in what came of the commands that have ended, for the daemon.
func (t *Teller) NoteNotified(ctx context.Context) {
	if ctx.Err() == nil && len(t.notified(true)) > 0 {
		t.o.Change(ctx, t.takeNotified)
	}
}

// notified are the commands that are out, by their lines; over: that have ended.
func (t *Teller) notified(over bool) map[string]*errand {
	m := map[string]*errand{}
	for name, e := range t.errands {
		if line, is := strings.CutPrefix(name, notifyErrand("")); is && (!over || e.over()) {
			m[line] = e
		}
	}
	return m
}

// takeNotified notes what came of the commands that have ended. One that failed is
// tried again with the backoff; where the set has changed meanwhile it needs a
// run for the new one.
func (t *Teller) takeNotified(st *state.State) {
	now := t.o.Now().UTC().Truncate(time.Second)
	for line, e := range t.notified(true) {
		t.finished(notifyErrand(line))
		if e.err == nil {
			t.o.Log(slog.LevelInfo, "a notify command succeeded", "command", line)
			if st.Notified == nil {
				st.Notified = map[string]string{}
			}
			st.Notified[line] = e.of
		}
		d := st.Notify[line]
		if d == nil { // it is configured no more
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
			nd.Next = now.Add(state.Backoff(nd.Attempts))
			t.o.Log(slog.LevelError, "a notify command failed", "reason", string(plan.NotifyPending), "command", line,
				"error", nd.LastError, "next", nd.Next.Format(time.RFC3339))
		}
		st.Notify[line] = &nd
	}
}
