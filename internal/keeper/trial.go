package keeper

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// try returns why install would refuse a change, as far as that can be known without writing anything.
func (in *installer) try(obs plan.Observed, c *plan.Change) error {
	files, err := in.contents(c, in.o.Now())
	if err != nil {
		return err
	}
	for _, a := range c.Copies {
		if a.Foreign && obs.StateErr != nil {
			return fmt.Errorf("nothing was changed, because no backup could be made: %w", obs.StateErr)
		}
	}
	set := durable.OpenSet(in.o.Disk, in.cfg.Certs.Dir)
	after := obs.Certs
	for _, f := range files {
		n := durable.Node{Kind: durable.File, Exists: true, IsRegular: true, Mode: f.Mode, UID: in.o.UID, Nlink: 1,
			Size: int64(len(f.data)), Data: f.data}
		if f.Source == plan.FromStaging {
			n = set.Staged(f.Name)
		}
		n.Path = filepath.Join(obs.Certs.Path, f.Name)
		after.Put(f.Name, n)
	}
	return in.acceptable(obs, after)
}

// Foresee is Check for a person who asks what a wish would come to: it asks the DNS as Renew does.
func (k *Keeper) Foresee(ctx context.Context, wish plan.Wish) Result {
	r := k.Check(ctx, wish)
	if !wish.Rekey {
		return r
	}
	if seen, looked := k.tlsa.look(ctx, r.Plan, true); looked {
		doubts := k.tlsa.doubts(seen, r.Plan)
		r.Observed.State.DANE = r.Observed.State.DANE.Saw(seen)
		r.Plan = plan.Make(k.cfg, r.Observed, wish, k.o.Now())
		r.Plan.Problems = append(r.Plan.Problems, doubts...)
	}
	return r
}

// RestoreTrial says what Restore would restore, or why it would not, and changes nothing. The notes are what force
// overrules.
func (k *Keeper) RestoreTrial(ctx context.Context, id string, force bool) (what string, notes []string, err error) {
	w, err := k.restoration(k.observer.observe(ctx), id, force)
	if err == nil {
		err = k.installer.try(w.obs, w.change)
	}
	if err != nil {
		return "", nil, err
	}
	var names []string
	for _, f := range w.change.Files {
		names = append(names, f.Name)
	}
	return w.action(k.cfg.Certs.Dir).Text.Would() + ": " + strings.Join(names, ", "), w.overruled, nil
}

// PurgeTrial says why Purge would refuse to begin.
func (k *Keeper) PurgeTrial() error {
	if k.daemon() == plan.DaemonRuns {
		return fmt.Errorf("%s: %s: %w", stopFirst, k.cfg.State.Dir, durable.ErrLocked)
	}
	return nil
}
