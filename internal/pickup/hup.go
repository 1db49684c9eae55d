package pickup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

const (
	// inlineFor is how long the lock is held for a sendmail that restarts. Most need a fraction of a second, some wait
	// for their main loop, which turns every 5 s. The wait for a slower one goes on without the lock.
	inlineFor = 6 * time.Second
	// gapMost is how long the lock is held after the old process has ended. The new one needs milliseconds to write its
	// pid file, and cannot be identified before.
	gapMost = time.Second
	// The waits between looks at the process and the port grow, because each look leaves a line in maillog.
	pollFirst, pollMost   = 50 * time.Millisecond, 2 * time.Second
	probeFirst, probeMost = 200 * time.Millisecond, 30 * time.Second
	keptPickups           = 20
)

func (t *Teller) Due(st state.State) bool {
	return st.Pickup != nil && !t.o.Now().Before(st.Pickup.Next)
}

// look observes and plans again; r keeps what was told so far.
func (t *Teller) look(ctx context.Context, r *View) { r.Observed, r.Plan = t.o.Look(ctx) }

// lookAtSendmail observes sendmail and the state alone: while the lock is held, no other mailcertd changes a file.
func (t *Teller) lookAtSendmail(ctx context.Context, r *View) {
	r.Observed, r.Plan = t.o.LookAtSendmail(ctx, r.Observed)
}

// deliver takes the pending pickup one step further. The caller holds the lock. impatient ignores the backoff, because
// a person waits. errWaiting: the outcome is not known yet.
func (t *Teller) deliver(ctx context.Context, r *View, impatient bool) error {
	st := r.Plan.State
	if st.Pickup == nil || !impatient && !t.Due(st) {
		return nil
	}
	t.budget = inlineFor
	p, err := t.settlePickup(ctx, r, &st)
	if ctx.Err() != nil { // on shutdown the pickup stays pending in the state
		t.o.Remember(r.Plan.State, st)
		r.Plan.State = st
		return ctx.Err()
	}
	now := t.o.Now().UTC().Truncate(time.Second)
	if errors.Is(err, errHeld) { // the problems of the plan say what is wrong with the files
		t.waits = 0
		t.o.Remember(r.Observed.State, st)
		return nil
	}
	if errors.Is(err, errWaiting) {
		if d := *st.Pickup; d.Proving.Before(now) {
			d.Proving = now.Add(mta.Patience)
			st.Pickup = &d
		}
		t.o.Remember(r.Observed.State, st)
		t.lookAtSendmail(ctx, r)
		t.waits = min(max(time.Second, 2*t.waits), 10*time.Second)
		return err
	}
	t.waits = 0
	if err != nil {
		d := *st.Pickup
		d.Attempts++
		d.LastError = err.Error()
		d.Next = now.Add(plan.Backoff(d.Attempts))
		d.Proving = time.Time{}
		id := plan.Instance(t.o.Identify(ctx))
		_, signalled := plan.HUPOf(d, id)
		d.Unseen = errors.Is(err, errUnseen) && len(d.HUPs) > 0 && !signalled
		if unseen := (unseenError{}); d.Unseen && errors.As(err, &unseen) { // Unseen says the rest already
			d.LastError = unseen.error.Error()
		}
		if d.Failed = ""; len(d.HUPs) > 0 && !signalled {
			d.Failed = plan.InstanceID(id)
		}
		st.Pickup = &d
		p = &Outcome{Result: "pending", Detail: err.Error()}
		level := slog.LevelError
		if d.Unseen {
			level = slog.LevelWarn
		}
		t.o.Log(level, "sendmail has not picked up the files", "error", err.Error(), "attempt", d.Attempts, "next",
			d.Next.Format(time.RFC3339))
	} else {
		if d := st.Pickup; len(d.Started) > 0 && (p.Result == plan.Proven || p.Result == plan.Unproven) {
			p.Detail = "sendmail was not running after its HUP and was started again"
			t.o.Log(slog.LevelError, "sendmail is running again", "command", strings.Join(t.s.StartCommand, " "))
		}
		st.PickedUp = state.PickedUp{Set: st.Pickup.Set, Leaf: st.Pickup.Leaf, At: now, How: p.Result, Addr: p.Addr,
			Instance: plan.InstanceID(plan.Instance(t.o.Identify(ctx)))}
		if p.Unidentified {
			st.PickedUp.Instance = ""
		}
		st.Pickup = nil
		t.o.Log(slog.LevelInfo, "sendmail serves the files on disk", "how", p.Result, "addr", p.Addr,
			"serial", p.Serial,
			"detail", p.Detail)
	}
	st.Pickups = append(slices.Clone(st.Pickups), state.PickupResult{At: now, Leaf: r.Plan.Facts.LeafID,
		Serial: p.Serial, Result: p.Result, Detail: p.Detail})
	if n := len(st.Pickups); n > keptPickups {
		st.Pickups = st.Pickups[n-keptPickups:]
	}
	t.o.Remember(r.Observed.State, st)
	r.Pickup = p
	t.lookAtSendmail(ctx, r)
	t.o.Remember(r.Observed.State, r.Plan.State)
	return nil
}

// settlePickup makes the running sendmail serve the set on disk, or finds that no pickup is pending. Each instance gets
// at most one HUP. Any process may call it again at any point, because the state notes each step. errWaiting: call
// again later.
func (t *Teller) settlePickup(ctx context.Context, r *View, st *state.State) (*Outcome, error) {
	id := t.o.Identify(ctx)
	if !plan.Running(id) {
		return t.absent(ctx, r, st, id)
	}
	t.goneSince = time.Time{}
	inst := plan.Instance(id)
	w := plan.Telling{Pickup: *st.Pickup, Instance: inst, Changed: plan.LastChange(r.Observed.Certs),
		Signalled: t.signalled == plan.InstanceID(inst), Now: t.o.Now()}
	var p *Outcome
	var err error
	step := w.First()
	switch step {
	case plan.ProveBack:
		t.cameBack(st)
		p, err = t.proveBack(ctx, r, st, id)
	case plan.Prove:
		p, err = t.prove(ctx, r, id)
	}
	if step == plan.ProveBack || step == plan.Prove {
		w.Now = t.o.Now()
		step = w.After(step, seen(err))
	}
	switch step {
	case plan.SettledBySelf:
		return &Outcome{Result: plan.StartedLater, Detail: "sendmail was started after the change"}, nil
	case plan.AwaitNext:
		return t.await(ctx, r, st, id)
	case plan.Believe:
		return p, err
	case plan.Later:
		return nil, errWaiting
	case plan.InVain:
		if err == nil {
			err = errors.New("the certificate is served, but by a sendmail that started before the last change")
		}
		hup, _ := plan.HUPOf(*st.Pickup, inst)
		return nil,
			fmt.Errorf("sendmail (pid %d) got its HUP at %s and has not restarted; run `service sendmail restart`: %w",
				id.PID, hup.At.Format(time.RFC3339), err)
	}
	if id.Status != mta.OK {
		return nil, fmt.Errorf("%s; %s", id.Detail, id.Hint)
	}
	if err := t.sane(ctx, id); err != nil {
		return nil, err
	}
	if t.touched(r) {
		t.look(ctx, r)
	}
	if !r.Plan.Facts.Works {
		return nil, errHeld
	}
	return t.hangup(ctx, r, st, id)
}

// seen turns the result of a proof into what plan.Telling decides by.
func seen(err error) plan.Seen {
	switch {
	case err == nil:
		return plan.SeenLeaf
	case errors.Is(err, errWaiting):
		return plan.SeenNotYet
	case errors.Is(err, errServesAnother):
		return plan.SeenAnother
	case errors.Is(err, errNotOffered):
		return plan.SeenNoTLS
	}
	return plan.SeenNothing
}

// touched reports whether a file that sendmail reads has changed since it was judged.
func (t *Teller) touched(r *View) bool {
	return slices.ContainsFunc(certdir.Files(), func(f certdir.File) bool {
		was, _ := r.Observed.Replaced(f.Name)
		return f.ReadAtStart() && f.Kind != certdir.KindCRL &&
			!durable.Look(filepath.Join(t.s.CertsDir, f.Name)).SameContent(was)
	})
}

// cameBack notes that another instance runs after the last HUP. If that one is gone later, a person stopped it.
func (t *Teller) cameBack(st *state.State) {
	n := len(st.Pickup.HUPs) - 1
	if n < 0 || st.Pickup.HUPs[n].Back {
		return
	}
	before := st.Clone()
	d := *st.Pickup
	d.HUPs = slices.Clone(d.HUPs)
	d.HUPs[n].Back = true
	st.Pickup = &d
	t.o.Remember(before, *st)
}

// proveBack proves a new instance, and waits for one that does not listen yet.
func (t *Teller) proveBack(ctx context.Context, r *View, st *state.State, id mta.Identity) (*Outcome, error) {
	step := probeFirst
	for until := t.o.Now().Add(t.budget); ; step = min(2*step, probeMost) {
		p, err := t.prove(ctx, r, id)
		since := st.Pickup.HUPs[len(st.Pickup.HUPs)-1].At
		if n := len(st.Pickup.Started); n > 0 && st.Pickup.Started[n-1].After(since) {
			since = st.Pickup.Started[n-1]
		}
		if !errors.Is(err, errRefused) || t.o.Now().Sub(since) >= plan.RestartPatience {
			return p, err
		}
		if t.o.Now().Add(step).After(until) {
			return nil, errWaiting
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
	}
}

// sane reports, by a nil error, that the running sendmail would survive a restart: cf and program are unchanged since
// it started, or the new program can read the cf. The check may take a minute and runs without the lock: errWaiting
// until then.
func (t *Teller) sane(ctx context.Context, id mta.Identity) error {
	n, now, started := durable.Look(id.CF), durable.Look(id.Program), plan.Instance(id).Started
	sameCF, sameProgram := mta.UnchangedSince(n, started), !id.Replaced && mta.UnchangedSince(now, started)
	if sameCF && sameProgram {
		return nil
	}
	const name = "test sendmail.cf"
	program, cf := t.o.Program(), id.CF
	of := fmt.Sprintf("%s %s %s %s", program, cf, edition(n), edition(now))
	if e := t.errands.named[name]; e != nil && e.of != of { // the check was for an older cf or program
		if !e.over() {
			return errWaiting
		}
		t.errands.finished(name)
	}
	if t.errands.named[name] == nil {
		changed := cf
		if sameCF {
			changed = id.Program
		}
		defer t.o.Working(changed+" has changed since sendmail started: testing it before the restart",
			mta.SanePatience)()
	}
	err := t.errands.start(ctx, name, of, func(ctx context.Context) (error, error) {
		return nil,
			mta.SaneCF(ctx, program, cf)
	}).wait(ctx, t.budget)
	if errors.Is(err, errWaiting) || ctx.Err() != nil {
		return err
	}
	if t.errands.finished(name); err != nil {
		return fmt.Errorf("no HUP was sent, because it would stop sendmail: %w", err)
	}
	return nil
}

// edition identifies the content of a file.
func edition(n durable.Node) string {
	return fmt.Sprintf("%d:%d:%d:%d", n.Dev, n.Ino, n.Size, n.Changed.UnixNano())
}

// hangup notes the HUP durably, sends it, and waits for the proof.
func (t *Teller) hangup(ctx context.Context, r *View, st *state.State, id mta.Identity) (*Outcome, error) {
	before := st.Clone()
	d := *st.Pickup
	d.Instance, d.WasUp = plan.Instance(id), true
	d.HUPs = append(slices.Clone(d.HUPs), state.HUP{Instance: plan.Instance(id),
		At: t.o.Now().UTC().Truncate(time.Second)})
	st.Pickup = &d
	t.o.Remember(before, *st)
	if err := mta.Hangup(ctx, id); err != nil { // it was not sent: with the note this instance would never get one
		noted := st.Clone()
		d.HUPs = slices.Clone(d.HUPs[:len(d.HUPs)-1])
		t.o.Remember(noted, *st)
		return nil, fmt.Errorf("no HUP was sent: %w", err)
	}
	before = st.Clone()
	d.HUPs = slices.Clone(d.HUPs)
	d.HUPs[len(d.HUPs)-1].Sent = true
	t.o.Remember(before, *st)
	t.signalled = plan.InstanceID(plan.Instance(id))
	t.o.Log(slog.LevelInfo, "sent HUP to sendmail", "pid", id.PID)
	defer t.o.Working("sendmail got its HUP; waiting until it serves the new certificate", inlineFor)()
	return t.await(ctx, r, st, id)
}

// await waits for another instance than old that serves the leaf on disk. It holds the lock no longer than the budget:
// errWaiting after that.
func (t *Teller) await(ctx context.Context, r *View, st *state.State, old mta.Identity) (*Outcome, error) {
	step, since, gap := pollFirst, time.Duration(0), time.Duration(0)
	for {
		ended := false
		if !old.Same() { // Identify would return the process that is ending
			switch id := t.o.Identify(ctx); {
			case plan.Running(id) && !sameInstance(plan.Instance(id), plan.Instance(old)):
				return t.settlePickup(ctx, r, st)
			case !plan.Running(id) && !mta.Alive(old.PID):
				// ensure starts no sendmail, but waits for one that is restarting.
				if p, err := t.absent(ctx, r, st, id); !errors.Is(err, errWaiting) || since >= t.budget ||
					!t.o.Brief && gap >= gapMost {
					return p, err
				}
				ended = true
			}
		}
		if hup, _ := plan.HUPOf(*st.Pickup, plan.Instance(old)); t.o.Now().Sub(hup.At) >= plan.RestartPatience {
			return nil, fmt.Errorf("%s after the HUP, no new sendmail was seen", plan.RestartPatience)
		}
		if since >= t.budget {
			return nil, errWaiting
		}
		if ended && gap == 0 {
			step = pollFirst
		}
		step = min(step, t.budget-since)
		since += step
		if ended {
			gap += step
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
		step = min(2*step, pollMost)
	}
}

func sameInstance(a, b state.Instance) bool { return plan.InstanceID(a) == plan.InstanceID(b) }
