package keeper

import (
	"context"
	"errors"
	"fmt"

	"mailcertd/internal/certdir"
	"mailcertd/internal/plan"
)

// Renew is Settle for a person who waits: an issuer on another host is asked now, and its answer is installed.
func (k *Keeper) Renew(ctx context.Context, wish plan.Wish) (Result, error) {
	var unknown []plan.Problem
	if wish.Rekey {
		unknown = k.tlsa.lookNow(ctx, k.Check(ctx, plan.Wish{}).Plan)
	}
	if !wish.Now { // the key waits, and the plan says what for
		unknown = nil
	}
	r, err := k.renew(ctx, wish)
	if wish.Now { // after a pickup r was planned without the wish
		r.Plan.Problems = plan.Make(k.cfg, r.Observed, wish, k.o.Now()).Problems
	}
	r.Plan.Problems = append(append(r.Plan.Problems, unknown...), plan.WithoutDaemon(k.cfg, k.daemon(), r.Plan)...)
	return r, err
}

// lookIfGoverned asks the DNS where there are TLSA records, for a person who brings another key: its record may be
// there, and from now on it is known since when.
func (k *Keeper) lookIfGoverned(ctx context.Context) {
	if p := k.Check(ctx, plan.Wish{}).Plan; p.TLSA.Governed {
		_ = k.tlsa.lookNow(ctx, p)
	}
}

// renew settles, and asks the issuer of each pair that a wish replaces.
func (k *Keeper) renew(ctx context.Context, wish plan.Wish) (Result, error) {
	r, err := k.Settle(ctx, wish)
	asked := map[certdir.Pair]bool{}
	for {
		q := r.Plan.Ask
		// After a pickup r was planned without the wish. Then another pair may have been renewed and this one not yet.
		if err == nil && (q == nil || q.Request == nil) && (len(asked) > 0 || r.Pickup != nil) {
			q = k.Check(ctx, wish).Plan.Ask
		}
		if err != nil || q == nil || q.Request == nil {
			return r, err
		}
		if asked[q.Request.Pair] { // the issuer has answered for this pair already; asking again would not help
			from := "the CA at " + plan.CAHost(k.cfg).SSH.Target
			if q.ACME() {
				from = k.asker.directory(*q)
			}
			err = fmt.Errorf("%s sent a certificate that this host cannot use", from)
			if r.Plan.Rejected != "" {
				err = fmt.Errorf("%w: %s", err, r.Plan.Rejected)
			}
			return r, err
		}
		asked[q.Request.Pair] = true
		done := k.working(q.Text.Doing(), k.patience(*q))
		err = k.asker.askNow(ctx, *q)
		done()
		if errors.Is(err, errBusy) { // the daemon was asking meanwhile; its answer is as good
			delete(asked, q.Request.Pair)
		} else if err != nil {
			return r, err
		}
		before, begun := r, k.o.Now()
		r, err = k.Settle(ctx, wish)
		if r.Plan.Facts.Set != before.Plan.Facts.Set {
			k.pickup.SeenByDaemon(&r.View, begun)
		}
		r.Done, r.Changed = append(before.Done, r.Done...), before.Changed || r.Changed
	}
}
