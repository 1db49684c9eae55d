package pickup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// absent handles a sendmail of which no process with a listener is identified. plan.Absence decides.
func (t *Teller) absent(ctx context.Context, r *View, st *state.State, id mta.Identity) (*Outcome, error) {
	now := t.o.Now()
	a := plan.Absence{Pickup: *st.Pickup, Status: id.Status, Askable: len(t.endpoints(r)) > 0, Brief: t.o.Brief,
		Alive: st.Pickup.Instance.PID > 0 && mta.Alive(st.Pickup.Instance.PID), Boot: mta.BootTime(), Now: now}
	who := id.Detail
	if id.Hint != "" {
		who += "; " + id.Hint
	}
	step := a.First()
	if step == plan.AskWhoListens {
		nobody := t.nobodyListens(ctx, r)
		since := t.goneSince
		if since.IsZero() || now.Before(since) {
			since = now
		}
		a.Starting = nobody && !a.Brief && t.starting(st.Pickup, now)
		switch step = a.After(nobody, now.Sub(since)); step {
		case plan.WaitForSilence, plan.WaitForStart, plan.StartAgain:
			t.goneSince = since
		}
	}
	switch step {
	case plan.CannotTell:
		if len(st.Pickup.HUPs) == 0 {
			return nil,
				fmt.Errorf("mailcertd cannot identify the sendmail that is running, so it sent no HUP (%s)", who)
		}
		return nil, fmt.Errorf("mailcertd cannot find out whether sendmail is running after its HUP (%s)", who)
	case plan.NobodyRuns:
		return &Outcome{Result: plan.NoneRunning, Detail: "no sendmail with a listener is running"}, nil
	case plan.NobodyListens:
		return &Outcome{Result: plan.NoneRunning, Detail: "nobody listens: " + id.Detail}, nil
	case plan.WaitForSilence, plan.WaitToKnow:
		return nil, errWaiting
	case plan.WaitForStart:
		return nil, t.started(now)
	case plan.StartAgain:
		return nil, t.startAgain(ctx, st)
	}
	p, err := t.prove(ctx, r, id)
	if err == nil {
		p.Unidentified = len(st.Pickup.HUPs) == 0
	}
	if err == nil || errors.Is(err, errWaiting) {
		return p, err
	}
	return nil, fmt.Errorf("a program listens, but mailcertd cannot find out which one (%s): %v", who,
		err) // no sendmail is identified, so this is not errUnseen
}

// startErrand is the errand name of start_command, so that it runs once at a time.
const startErrand = "start sendmail"

// startAgain notes the start in the state, starts the configured command without waiting, and returns errWaiting. The
// probe of the new sendmail decides whether it worked, not the command's exit status.
func (t *Teller) startAgain(ctx context.Context, st *state.State) error {
	argv := t.s.StartCommand
	t.o.Log(slog.LevelError, "sendmail was running before its HUP and is not running now: starting it again", "command",
		strings.Join(argv, " "))
	if len(argv) == 0 {
		return errors.New(
			"sendmail is not running after its HUP, and sendmail.start_command is empty: start it by hand")
	}
	before := st.Clone()
	d := *st.Pickup
	d.Started = append(slices.Clone(d.Started), t.o.Now().UTC().Truncate(time.Second))
	d.Next = time.Time{} // this start has not failed yet
	st.Pickup = &d
	t.o.Remember(before, *st)
	t.startEnded = time.Time{}
	t.errands.start(ctx, startErrand, lastStart(&d), func(ctx context.Context) (error,
		error) {
		return run(ctx, argv, CommandPatience)
	})
	return errWaiting
}

// lastStart identifies the last start of sendmail for a pickup; "": none.
func lastStart(d *state.Pickup) string {
	if n := len(d.Started); n > 0 {
		return d.Started[n-1].Format(time.RFC3339)
	}
	return ""
}

// starting reports whether a start is under way, so that no second one is begun: our own command, or another
// mailcertd's that was noted within the command's time and has no outcome yet.
func (t *Teller) starting(d *state.Pickup, now time.Time) bool {
	if e := t.errands.named[startErrand]; e != nil {
		if e.of == lastStart(d) || !e.over() {
			return true
		}
		t.errands.finished(startErrand) // it belongs to an earlier pickup
	}
	n := len(d.Started)
	if n == 0 || !d.Next.IsZero() {
		return false
	}
	age := now.Sub(d.Started[n-1])
	return age >= 0 && age < CommandPatience+plan.GoneAfter
}

// started returns the result of a start while no sendmail runs: errWaiting as long as one may still appear.
func (t *Teller) started(now time.Time) error {
	e := t.errands.named[startErrand]
	switch {
	case e == nil, !e.over():
		return errWaiting
	case t.startEnded.IsZero() || now.Before(t.startEnded):
		t.startEnded = now
		return errWaiting
	case now.Sub(t.startEnded) < plan.GoneAfter:
		return errWaiting
	}
	t.errands.finished(startErrand)
	return fmt.Errorf("sendmail is not running after its HUP, and %q did not start it: %w",
		strings.Join(t.s.StartCommand, " "),
		errors.Join(e.err, errRefused, e.said))
}
