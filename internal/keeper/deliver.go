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
	crashPatience  = 10 * time.Second
	pollEvery      = 50 * time.Millisecond
	keptDeliveries = 20
)

func (k *Keeper) debtDue(st state.State) bool {
	return st.Debt != nil && !k.o.Now().Before(st.Debt.Next)
}

// deliver works off the debt, if one is due. The caller holds the lock over
// apply, HUP and proof. impatient ignores the backoff: a person is waiting.
func (k *Keeper) deliver(ctx context.Context, r *Result, impatient bool) error {
	st := r.Plan.State
	if st.Debt == nil || !impatient && !k.debtDue(st) {
		return nil
	}
	p, err := k.settleDebt(ctx, r, &st)
	if ctx.Err() != nil { // shutting down: the debt stays as it is noted
		k.remember(r.Plan.State, st)
		r.Plan.State = st
		return ctx.Err()
	}
	now := k.o.Now().UTC().Truncate(time.Second)
	if err != nil {
		d := *st.Debt
		d.Attempts++
		d.LastError = err.Error()
		d.Next = now.Add(state.Backoff(d.Attempts))
		st.Debt = &d
		p = &Pickup{Result: "owed", Detail: err.Error()}
		k.log(Fail, "sendmail has not taken over the files", "error", err.Error(), "attempt", d.Attempts, "next", d.Next.Format(time.RFC3339))
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
	obs := k.observe(ctx)
	*r = Result{Observed: obs, Plan: plan.Make(k.cfg, obs, plan.Wish{}, k.o.Now()), Done: r.Done, Changed: r.Changed, Pickup: p}
	k.remember(obs.State, r.Plan.State)
	return nil
}

// identify looks at the process behind the pid file now.
func (k *Keeper) identify(ctx context.Context) mta.Identity {
	return mta.Identify(ctx, k.identifyOptions(mta.ReadCF(k.cfg.Sendmail.CF)))
}

// settleDebt brings the running sendmail to serve what is on the disk, or
// finds that nothing is owed any more. At most one HUP is sent.
func (k *Keeper) settleDebt(ctx context.Context, r *Result, st *state.State) (*Pickup, error) {
	id := k.identify(ctx)
	d := st.Debt
	changed := plan.LastChange(r.Observed.Certs)
	if !plan.Running(id) {
		return k.absent(ctx, r, st, id)
	}
	if !sameInstance(plan.Instance(id), d.Instance) && plan.Instance(id).Started.After(changed) {
		if len(d.HUPs) == 0 { // somebody else restarted it
			return &Pickup{Result: plan.StartedLater, Detail: "sendmail was started after the change"}, nil
		}
		return k.prove(ctx, r, id)
	}
	if hup, noted := hupOf(d, plan.Instance(id)); noted {
		// It was signalled before, by a process of ours that did not live to see
		// the outcome, or in vain: look first.
		p, err := k.prove(ctx, r, id)
		age := k.o.Now().Sub(hup.At)
		switch {
		case err == nil && plan.Instance(id).Started.After(changed):
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
	_, err := k.prove(ctx, r, id)
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
	if err := mta.SaneCF(ctx, id.Argv0, id.CF); err != nil {
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
	k.log(Info, "sent HUP to sendmail", "pid", id.PID)
	defer k.working("sendmail was told; waiting for it to serve the new certificate", restartPatience)()
	return k.await(ctx, r, st, id)
}

// await waits for another instance than old that serves the leaf on disk.
func (k *Keeper) await(ctx context.Context, r *Result, st *state.State, old mta.Identity) (*Pickup, error) {
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var goneSince time.Time
	var last error
	for {
		id := k.identify(ctx)
		switch {
		case plan.Running(id) && !sameInstance(plan.Instance(id), plan.Instance(old)):
			goneSince = time.Time{}
			p, err := k.prove(ctx, r, id)
			if err == nil {
				return p, nil
			}
			last = err
			if errors.Is(err, errServesAnother) {
				return nil, err // it is up and settled: waiting changes nothing
			}
		case !plan.Running(id) && !mta.Alive(old.PID):
			if goneSince.IsZero() {
				goneSince = k.o.Now()
			}
			if k.o.Now().Sub(goneSince) >= goneAfter {
				return k.startAgain(ctx, r, st)
			}
		default:
			goneSince = time.Time{}
		}
		select {
		case <-ctx.Done():
			if last == nil {
				last = errors.New("no new sendmail was seen")
			}
			return nil, fmt.Errorf("%s after the HUP: %w", restartPatience, last)
		case <-tick.C:
		}
	}
}

// absent: no sendmail with a listener is identified. Where one was up when the
// debt arose and our HUP was sent to it, it is started again; where somebody
// stopped it, nothing is owed.
func (k *Keeper) absent(ctx context.Context, r *Result, st *state.State, id mta.Identity) (*Pickup, error) {
	d := st.Debt
	if len(d.HUPs) > 0 && d.HUPs[len(d.HUPs)-1].Sent && k.nobodyListens(ctx, r) {
		return k.startAgain(ctx, r, st)
	}
	if id.Status == mta.NotRunning || id.Status == mta.NoListener {
		return &Pickup{Result: plan.NoneRunning, Detail: "no sendmail with a listener runs"}, nil
	}
	// The pid file leads nowhere good, but a sendmail may well be there.
	if k.nobodyListens(ctx, r) {
		return &Pickup{Result: plan.NoneRunning, Detail: "nobody listens: " + id.Detail}, nil
	}
	if p, err := k.prove(ctx, r, id); err == nil {
		return p, nil
	}
	return nil, fmt.Errorf("somebody listens, but it cannot be told who: %s; %s", id.Detail, id.Hint)
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
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(ctx, goneAfter)
	defer cancel()
	var last error
	for {
		if id := k.identify(ctx); plan.Running(id) {
			p, err := k.prove(ctx, r, id)
			if err == nil {
				p.Detail = "sendmail was gone after its HUP and was started again"
				k.log(Fail, "sendmail runs again", "command", strings.Join(argv, " "))
				return p, nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("sendmail is gone after its HUP, and %q did not bring it back: %w", strings.Join(argv, " "), errors.Join(cerr, last, out))
		case <-tick.C:
		}
	}
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
