package keeper

import (
	"context"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/inbox"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// act carries out one action on the CA directory or its inbox. at is the time that is believed, which may differ from
// the clock.
func (pc *PrivateCA) act(ctx context.Context, obs plan.Observed, st *state.State, act plan.Action, at time.Time) error {
	switch act.Kind {
	case plan.ReconcileCA:
		_, err := ca.Reconcile(ctx, pc.o.Disk, pc.cfg.CA.Dir, leaves(obs)...)
		return err
	case plan.InitCA:
		defer pc.working(act.Text.Doing(), 0)()
		o := pc.Options(obs)
		// If this unfinished CA has disappeared since it was observed, Init must not make a new one.
		o.Unfinished = obs.CA.Status == ca.Unfinished
		c, err := ca.Init(ctx, pc.o.Disk, o, pc.o.Rand, at)
		if err == nil {
			st.CA = pki.KeyFingerprint(c.PublicKey)
		}
		return err
	case plan.RedateCA:
		return ca.Redate(ctx, pc.o.Disk, pc.Options(obs), pc.o.Rand, at)
	case plan.NextCA:
		defer pc.working(act.Text.Doing(), 0)()
		_, err := ca.StartNext(ctx, pc.o.Disk, pc.Options(obs), pc.o.Rand, at)
		return err
	case plan.PromoteCA:
		c, err := ca.Promote(ctx, pc.o.Disk, pc.Options(obs))
		if err == nil {
			st.CA = pki.KeyFingerprint(c.PublicKey)
		}
		return err
	case plan.PruneCA:
		return ca.Prune(ctx, pc.o.Disk, pc.cfg.CA.Dir, at)
	case plan.WriteCRL:
		o := pc.Options(obs)
		if s := act.Signing; s != nil {
			o.Backdate, at = s.Backdate, s.At
		}
		return ca.WriteCRL(ctx, pc.o.Disk, o, pc.o.Rand, at)
	case plan.MakeInbox:
		return inbox.Make(pc.o.Disk, pc.cfg.CA.Inbox, obs.Account.GID)
	case plan.Answer:
		return pc.answerMembers(ctx, obs, act.Hold, at)
	}
	return fmt.Errorf("no such action: %s", act.Kind)
}
