package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Pickup is what became of telling sendmail.
type Pickup struct {
	Result string // plan.Proven, plan.StartedLater, plan.NoneRunning, plan.Unproven, or "owed"
	Serial string // of the certificate that was seen, "" when none was
	Addr   string // where it was seen
	Detail string // for people: what happened
}

const (
	// restartPatience is how long sendmail may take from the HUP to serving: with
	// an unqualified host name it sleeps 60 s at start.
	restartPatience = 100 * time.Second
	// goneAfter is how long no process and no listener must be seen before a
	// sendmail that got a HUP is called gone.
	goneAfter = 10 * time.Second
	// crashPatience is how long a HUP that was noted but not confirmed as sent
	// may still be under way after a crash of ours. A sendmail that got one stops
	// listening as soon as its main loop turns, every 5 s at the latest.
	crashPatience = 10 * time.Second
	// inlineFor is how long the lock is held for a sendmail that is to show itself.
	// Most need a fraction of a second; what takes longer is waited for without it.
	inlineFor = 5 * time.Second
	// startWithin is how long after a HUP a sendmail that is gone may be gone by it.
	startWithin = 3 * time.Minute
	// The process is looked at with growing distance, and so is the port: each
	// look leaves a line in maillog.
	pollFirst, pollMost   = 50 * time.Millisecond, 2 * time.Second
	probeFirst, probeMost = 200 * time.Millisecond, 30 * time.Second
	keptDeliveries        = 20
)

func (k *Keeper) debtDue(st state.State) bool {
	return st.Debt != nil && !k.o.Now().Before(st.Debt.Next)
}

// tellSendmail works off the debt, if one is due. A verb waits for the outcome;
// where that takes longer it gives the lock back meanwhile: file repair goes
// on. The daemon does not wait, and `ensure` only for a moment: the debt stands,
// and a later look goes on with it. A second HUP is not sent to the same instance in
// any case, because the first is noted.
func (k *Keeper) tellSendmail(ctx context.Context, r *Result, verb bool, lock **durable.Locked) error {
	err := k.deliver(ctx, r, verb)
	if !errors.Is(err, errWaiting) {
		return err
	}
	if !verb || k.o.Brief {
		return nil
	}
	defer k.working("sendmail was told; waiting for it to serve the new certificate: it may greet late", mta.Patience)()
	for errors.Is(err, errWaiting) {
		(*lock).Unlock()
		*lock = nil
		k.rest(ctx, pollMost)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l, lerr := k.lock(ctx)
		if lerr != nil {
			return lerr
		}
		*lock = l
		k.look(ctx, r)
		if d := r.Plan.State.Delivered; r.Plan.State.Debt == nil && r.Pickup == nil && d.Set == r.Plan.Facts.Set {
			// The daemon had the lock meanwhile, and has seen what this verb waits for.
			r.Pickup = &Pickup{Result: d.How, Serial: diskSerial(r), Addr: d.Addr, Detail: "seen by the daemon"}
			return nil
		}
		err = k.deliver(ctx, r, verb)
	}
	return err
}

// rest waits for the proof that is out, and no longer than d.
func (k *Keeper) rest(ctx context.Context, d time.Duration) {
	var done chan struct{}
	if k.proof != nil {
		done = k.proof.done
	}
	select {
	case <-ctx.Done():
	case <-done:
	case <-time.After(d):
	}
}

// look observes and plans anew; what was done so far stays in r.
func (k *Keeper) look(ctx context.Context, r *Result) {
	obs := k.observe(ctx)
	*r = Result{Observed: obs, Plan: plan.Make(k.cfg, obs, plan.Wish{}, k.o.Now()), Done: r.Done, Changed: r.Changed, Pickup: r.Pickup}
}

// deliver takes the debt one step further. The caller holds the lock. impatient
// ignores the backoff: a person is waiting. errWaiting: the outcome is still to
// come.
func (k *Keeper) deliver(ctx context.Context, r *Result, impatient bool) error {
	st := r.Plan.State
	if st.Debt == nil || !impatient && !k.debtDue(st) {
		return nil
	}
	k.budget = inlineFor
	p, err := k.settleDebt(ctx, r, &st)
	if ctx.Err() != nil { // shutting down: the debt stays as it is noted
		k.remember(r.Plan.State, st)
		r.Plan.State = st
		return ctx.Err()
	}
	now := k.o.Now().UTC().Truncate(time.Second)
	if errors.Is(err, errWaiting) {
		if d := *st.Debt; d.Proving.Before(now) {
			d.Proving = now.Add(mta.Patience)
			st.Debt = &d
		}
		k.remember(r.Observed.State, st)
		k.look(ctx, r)
		k.waits = min(max(time.Second, 2*k.waits), 10*time.Second)
		return err
	}
	k.waits = 0
	if err != nil {
		d := *st.Debt
		d.Attempts++
		d.LastError = err.Error()
		d.Next = now.Add(state.Backoff(d.Attempts))
		d.Proving = time.Time{}
		id := plan.Instance(k.identify(ctx))
		_, signalled := hupOf(&d, id)
		d.Unseen = errors.Is(err, errUnseen) && len(d.HUPs) > 0 && !signalled
		if d.Failed = ""; len(d.HUPs) > 0 && !signalled {
			d.Failed = plan.InstanceID(id)
		}
		st.Debt = &d
		p = &Pickup{Result: "owed", Detail: err.Error()}
		level := Fail
		if d.Unseen {
			level = Warn
		}
		k.log(level, "sendmail has not taken over the files", "error", err.Error(), "attempt", d.Attempts, "next", d.Next.Format(time.RFC3339))
	} else {
		st.Delivered = state.Delivered{Set: st.Debt.Set, Leaf: st.Debt.Leaf, At: now, How: p.Result, Addr: p.Addr,
			Instance: plan.InstanceID(plan.Instance(k.identify(ctx)))}
		st.Debt = nil
		k.log(Info, "sendmail serves the files on disk", "how", p.Result, "addr", p.Addr, "serial", p.Serial, "detail", p.Detail)
	}
	st.Deliveries = append(slices.Clone(st.Deliveries), state.Delivery{At: now, Leaf: r.Plan.Facts.LeafID, Serial: p.Serial, Result: p.Result, Detail: p.Detail})
	if n := len(st.Deliveries); n > keptDeliveries {
		st.Deliveries = st.Deliveries[n-keptDeliveries:]
	}
	k.remember(r.Observed.State, st)
	r.Pickup = p
	k.look(ctx, r)
	k.remember(r.Observed.State, r.Plan.State)
	return nil
}

// identify looks at the process behind the pid file now.
func (k *Keeper) identify(ctx context.Context) mta.Identity {
	return mta.Identify(ctx, k.identifyOptions(k.readCF()))
}

// settleDebt brings the running sendmail to serve what is on the disk, or
// finds that nothing is owed any more. Each instance gets at most one HUP. It
// may be called again at any point, also by another process: what was done is
// noted in the debt. errWaiting: call again later.
func (k *Keeper) settleDebt(ctx context.Context, r *Result, st *state.State) (*Pickup, error) {
	id := k.identify(ctx)
	if !plan.Running(id) {
		return k.absent(ctx, r, st, id)
	}
	k.goneSince = time.Time{}
	d, inst := st.Debt, plan.Instance(id)
	changed := plan.LastChange(r.Observed.Certs)
	hup, noted := hupOf(d, inst)
	switch {
	case !sameInstance(inst, d.Instance) && inst.Started.After(changed):
		if len(d.HUPs) == 0 { // somebody else restarted it
			return &Pickup{Result: plan.StartedLater, Detail: "sendmail was started after the change"}, nil
		}
		k.cameBack(st)
		return k.proveBack(ctx, r, st, id)
	case !noted && len(d.HUPs) > 0:
		// It came by a HUP, and may be younger than the change by less than a start
		// time tells, or older. It gets one of its own only after it was seen to be
		// settled: two in flight can end a sendmail.
		k.cameBack(st)
		p, err := k.proveBack(ctx, r, st, id)
		if !errors.Is(err, errServesAnother) {
			return p, err
		}
	case noted && hup.Sent && k.signalled == plan.InstanceID(inst) && k.o.Now().Sub(hup.At) < restartPatience:
		return k.await(ctx, r, st, id) // our own, a moment ago
	case noted:
		// It was signalled before, by a process of ours that did not live to see
		// the outcome, or in vain: look first.
		p, err := k.prove(ctx, r, id)
		age := k.o.Now().Sub(hup.At)
		switch {
		case errors.Is(err, errWaiting):
			return nil, err
		case err == nil && inst.Started.After(changed):
			return p, nil
		case age < crashPatience && (hup.Sent || !errors.Is(err, errServesAnother)):
			return k.await(ctx, r, st, id) // it is restarting right now
		case !hup.Sent && errors.Is(err, errServesAnother) && k.stillServes(ctx, r, id, hup) == nil:
			// the signal was noted and never sent
		default:
			if err == nil {
				err = errors.New("the certificate is served, but by a sendmail that started before the last change")
			}
			return nil, fmt.Errorf("sendmail (pid %d) was sent its one HUP at %s and has not restarted; `service sendmail restart` settles it: %w", id.PID, hup.At.Format(time.RFC3339), err)
		}
	}
	if id.Status != mta.OK {
		return nil, fmt.Errorf("%s; %s", id.Detail, id.Hint)
	}
	if err := k.sane(ctx, id); err != nil {
		return nil, err
	}
	return k.hangup(ctx, r, st, id)
}

// cameBack notes that another instance runs after the last HUP: if that is gone
// one day, somebody stopped it.
func (k *Keeper) cameBack(st *state.State) {
	n := len(st.Debt.HUPs) - 1
	if n < 0 || st.Debt.HUPs[n].Back {
		return
	}
	before := st.Clone()
	d := *st.Debt
	d.HUPs = slices.Clone(d.HUPs)
	d.HUPs[n].Back = true
	st.Debt = &d
	k.remember(before, *st)
}

// proveBack proves a new instance. One that does not listen yet gets its time.
func (k *Keeper) proveBack(ctx context.Context, r *Result, st *state.State, id mta.Identity) (*Pickup, error) {
	step := probeFirst
	for until := k.o.Now().Add(k.budget); ; step = min(2*step, probeMost) {
		p, err := k.prove(ctx, r, id)
		n := len(st.Debt.HUPs) - 1
		if !errors.Is(err, errRefused) || k.o.Now().Sub(st.Debt.HUPs[n].At) >= restartPatience {
			return p, err
		}
		if k.o.Now().Add(step).After(until) {
			return nil, errWaiting
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
	}
}

// stillServes waits until a HUP that may never have been sent would have shown
// its effect, and gives nil when the same instance still serves the old
// certificate: the signal was not sent, and may be sent now.
func (k *Keeper) stillServes(ctx context.Context, r *Result, id mta.Identity, hup state.HUP) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(crashPatience, crashPatience-k.o.Now().Sub(hup.At))):
	}
	if now := k.identify(ctx); !sameInstance(plan.Instance(now), plan.Instance(id)) {
		return errors.New("it has restarted meanwhile")
	}
	budget := k.budget
	k.budget = mta.Patience
	_, err := k.prove(ctx, r, id)
	k.budget = budget
	if errors.Is(err, errServesAnother) {
		return nil
	}
	return fmt.Errorf("it no longer serves the old certificate: %w", err)
}

// sane says that the cf of a running sendmail would survive a restart: it has
// not changed since, or sendmail itself can still read it.
func (k *Keeper) sane(ctx context.Context, id mta.Identity) error {
	if mta.CFUnchangedSince(durable.Look(id.CF), plan.Instance(id).Started) {
		return nil
	}
	defer k.working(id.CF+" has changed since sendmail started: trying it before the restart", mta.SanePatience)()
	if err := mta.SaneCF(ctx, k.program(), id.CF); err != nil {
		return fmt.Errorf("no HUP was sent, because sendmail would not survive it: %w", err)
	}
	return nil
}

// hangup notes the signal durably, sends it, and waits for the proof.
func (k *Keeper) hangup(ctx context.Context, r *Result, st *state.State, id mta.Identity) (*Pickup, error) {
	before := st.Clone()
	d := *st.Debt
	d.Instance, d.WasUp = plan.Instance(id), true
	d.HUPs = append(slices.Clone(d.HUPs), state.HUP{Instance: plan.Instance(id), At: k.o.Now().UTC().Truncate(time.Second)})
	st.Debt = &d
	k.remember(before, *st)
	if err := mta.Hangup(ctx, id); err != nil {
		return nil, fmt.Errorf("no HUP was sent: %w", err)
	}
	before = st.Clone()
	d.HUPs = slices.Clone(d.HUPs)
	d.HUPs[len(d.HUPs)-1].Sent = true
	k.remember(before, *st)
	k.signalled = plan.InstanceID(plan.Instance(id))
	k.log(Info, "sent HUP to sendmail", "pid", id.PID)
	defer k.working("sendmail was told; waiting for it to serve the new certificate", inlineFor)()
	return k.await(ctx, r, st, id)
}

// await waits for another instance than old that serves the leaf on disk, with
// the lock no longer than the budget: errWaiting then.
func (k *Keeper) await(ctx context.Context, r *Result, st *state.State, old mta.Identity) (*Pickup, error) {
	step, since := pollFirst, time.Duration(0)
	for {
		if !old.Same() { // else Identify would say what it said
			switch id := k.identify(ctx); {
			case plan.Running(id) && !sameInstance(plan.Instance(id), plan.Instance(old)):
				return k.settleDebt(ctx, r, st)
			case !plan.Running(id) && !mta.Alive(old.PID):
				return k.absent(ctx, r, st, id)
			}
		}
		if hup, _ := hupOf(st.Debt, plan.Instance(old)); k.o.Now().Sub(hup.At) >= restartPatience {
			return nil, fmt.Errorf("%s after the HUP: no new sendmail was seen", restartPatience)
		}
		if since += step; since > k.budget {
			return nil, errWaiting
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
		step = min(2*step, pollMost)
	}
}

// absent: no sendmail with a listener is identified. One that is gone by our own
// HUP, a moment ago, is started again; where it had come back since, where the
// HUP was long ago or before the boot, somebody stopped it, and nothing is owed.
func (k *Keeper) absent(ctx context.Context, r *Result, st *state.State, id mta.Identity) (*Pickup, error) {
	d, now := st.Debt, k.o.Now()
	if n := len(d.HUPs) - 1; n >= 0 && d.HUPs[n].Sent && goneByHUP(d, now, mta.BootTime()) && k.nobodyListens(ctx, r) {
		if k.goneSince.IsZero() || now.Before(k.goneSince) {
			k.goneSince = now
		}
		switch {
		case k.o.Brief: // it never starts one, and never waits for one
			return nil, errWaiting
		case len(d.Started) == 0 && now.Sub(k.goneSince) < goneAfter:
			return nil, errWaiting
		}
		return k.startAgain(ctx, r, st)
	}
	if id.Status == mta.NotRunning || id.Status == mta.NoListener {
		return &Pickup{Result: plan.NoneRunning, Detail: "no sendmail with a listener runs"}, nil
	}
	// The pid file leads nowhere good, but a sendmail may well be there.
	if k.nobodyListens(ctx, r) {
		return &Pickup{Result: plan.NoneRunning, Detail: "nobody listens: " + id.Detail}, nil
	}
	if p, err := k.prove(ctx, r, id); err == nil || errors.Is(err, errWaiting) {
		return p, err
	}
	return nil, fmt.Errorf("somebody listens, but it cannot be told who: %s; %s", id.Detail, id.Hint)
}

// goneByHUP says that a sendmail which is gone now may be gone by the last HUP.
func goneByHUP(d *state.Debt, now, boot time.Time) bool {
	last := d.HUPs[len(d.HUPs)-1]
	age := now.Sub(last.At)
	return !last.Back && !last.At.Before(boot) && (age >= 0 && age < startWithin || len(d.Started) > 0)
}

// startAgain runs the configured command, once per debt and attempt. Whether
// it worked is judged by the probe, not by its exit status.
func (k *Keeper) startAgain(ctx context.Context, r *Result, st *state.State) (*Pickup, error) {
	argv := k.cfg.Sendmail.StartCommand
	k.log(Fail, "sendmail was up before its HUP and is gone: starting it again", "command", strings.Join(argv, " "))
	if len(argv) == 0 {
		return nil, errors.New("sendmail is gone after its HUP, and sendmail.start_command is empty: start it by hand")
	}
	before := st.Clone()
	d := *st.Debt
	d.Started = append(slices.Clone(d.Started), k.o.Now().UTC().Truncate(time.Second))
	st.Debt = &d
	k.remember(before, *st)
	defer k.working("sendmail is gone after its HUP; starting it again", commandPatience+goneAfter)()
	out, cerr := run(ctx, argv, commandPatience)
	var first error
	step := probeFirst
	for since := time.Duration(0); since < goneAfter; since += step {
		if id := k.identify(ctx); plan.Running(id) {
			k.cameBack(st)
			p, err := k.prove(ctx, r, id)
			switch {
			case err == nil:
				p.Detail = "sendmail was gone after its HUP and was started again"
				k.log(Fail, "sendmail runs again", "command", strings.Join(argv, " "))
				return p, nil
			case errors.Is(err, errWaiting):
				return nil, err
			case first == nil || errors.Is(first, errRefused):
				first = err // the first true reason
			}
		}
		step = min(2*step, pollMost)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
	}
	return nil, fmt.Errorf("sendmail is gone after its HUP, and %q did not bring it back: %w", strings.Join(argv, " "), errors.Join(cerr, first, out))
}

// commandPatience bounds a configured command.
const commandPatience = time.Minute

// run starts a configured command, for patience at most. output is what it
// said, for a message; nil: nothing.
func run(ctx context.Context, argv []string, patience time.Duration) (output error, err error) {
	said, err := command.Command{Argv: argv, Patience: patience}.Run(ctx)
	if text := said.Text(); text != "" {
		output = fmt.Errorf("it said %q", text)
	}
	return output, err
}

func sameInstance(a, b state.Instance) bool { return plan.InstanceID(a) == plan.InstanceID(b) }

// hupOf is the HUP that was noted for this very instance.
func hupOf(d *state.Debt, i state.Instance) (state.HUP, bool) {
	for _, h := range slices.Backward(d.HUPs) {
		if sameInstance(h.Instance, i) {
			return h, true
		}
	}
	return state.HUP{}, false
}
