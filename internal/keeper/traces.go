package keeper

import (
	"context"
	"time"

	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// tidier returns what removes the traces of orders. The configuration may have changed since they were made: the
// section dns is used whatever the challenge is now.
func (b *base) tidier() *acmeAsker {
	x, _, _ := b.acmeClient(nil, false)
	if x.o.DNS == nil {
		z, err := b.zone()
		if x.o.DNS = z; err != nil {
			x.o.DNS = noZone{err}
		}
	}
	return x
}

// noZone is a zone that cannot be changed.
type noZone struct{ err error }

// Add implements acme.DNS.
func (z noZone) Add(context.Context, string, string) error { return z.err }

// Remove implements acme.DNS.
func (z noZone) Remove(context.Context, string, string) error { return z.err }

// Wait implements acme.DNS.
func (z noZone) Wait(context.Context, string, string) error { return z.err }

// tidy removes the traces of orders while no other mailcertd places one.
func (x *acmeAsker) tidy(ctx context.Context) error {
	if err := x.turn().after(ctx); err != nil {
		return err
	}
	return x.turn().alone(func() error { return acme.Tidy(ctx, x.o) })
}

// takeTidy notes what came of tidy.
func (as *asker) takeTidy(ctx context.Context, a answer) error {
	now := as.o.Now()
	_ = as.state.change(ctx, func(s *state.State) {
		if a.err == nil {
			delete(s.Failures, plan.TracesFailure)
			as.log(Info, a.ask.Text.Did(), "reason", string(plan.ACMETraces))
			return
		}
		fail(s, plan.TracesFailure, a.err, now)
		as.log(Warn, a.err.Error(), "reason", string(plan.ACMETraces), "next",
			s.Failures[plan.TracesFailure].Next.Format(time.RFC3339))
	})
	return a.err
}
