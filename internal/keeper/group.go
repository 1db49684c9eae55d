package keeper

import (
	"context"
	"fmt"

	"mailcertd/internal/state"
)

// ChooseGroup stores the group for dh.param that a person chose. The choice is valid until the configuration names
// another group. It is an error if the choice cannot be stored, because the next ensure would undo it.
func (k *Keeper) ChooseGroup(ctx context.Context, group string) error {
	return k.notChosen(group, k.state.change(ctx, func(s *state.State) {
		s.DH = state.DHChoice{Group: group, Config: k.cfg.DH}
	}))
}

// ChooseTrial says why ChooseGroup could not store the choice, as far as that can be known without writing.
func (k *Keeper) ChooseTrial(ctx context.Context, group string) error {
	obs := k.observer.observe(ctx)
	err := obs.StateErr
	if n := obs.StateDir; n.Exists && !n.IsDir {
		err = fmt.Errorf("%s: is not a directory", n.Path)
	}
	return k.notChosen(group, err)
}

func (k *Keeper) notChosen(group string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(
		"nothing was changed, because the choice of %s cannot be stored: %w; correct that, or set `dh: %s` in %s",
		group, err, group, k.cfg.Path)
}
