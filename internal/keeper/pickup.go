package keeper

import (
	"context"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// pickupSettings returns the settings for package pickup from the configuration in force.
func (k *Keeper) pickupSettings() pickup.Settings {
	return pickup.Settings{CertsDir: k.cfg.Certs.Dir, Probe: k.cfg.Sendmail.Probe,
		StartCommand: k.cfg.Sendmail.StartCommand}
}

// pickupOptions gives package pickup access to this Keeper's observer, plan, lock and state.
func (k *Keeper) pickupOptions() pickup.Options {
	return pickup.Options{
		Now: k.o.Now, Log: k.log, Working: k.working, NotifyFor: k.o.NotifyFor, Brief: k.o.Brief, Wake: k.wake,
		Look: func(ctx context.Context) (plan.Observed, plan.Plan) {
			obs := k.observer.observe(ctx)
			return obs, plan.Make(k.cfg, obs, plan.Wish{}, k.o.Now())
		},
		LookAtSendmail: func(ctx context.Context, seen plan.Observed) (plan.Observed, plan.Plan) {
			k.observer.observeParts(ctx, &seen, statePart|sendmailPart)
			return seen, plan.Make(k.cfg, seen, plan.Wish{}, k.o.Now())
		},
		Identify: func(ctx context.Context) mta.Identity {
			return mta.Identify(ctx, k.observer.identifyOptions(k.observer.readCF()))
		},
		Program: k.observer.program,
		Lock:    k.lock,
		State: func() state.State {
			s, _ := k.state.loadState()
			return s
		},
		Remember: k.state.remember,
		Change:   k.state.change,
	}
}

// Serves asks sendmail which certificates it serves, for a person who asked for it.
func (k *Keeper) Serves(ctx context.Context, r Result) []mta.Served {
	return k.pickup.Serves(ctx, r.View)
}

// Close waits at most patience for open questions and commands, after their context is done: no ssh and no command may
// stay behind when mailcertd ends.
func (k *Keeper) Close(patience time.Duration) {
	late := time.NewTimer(patience)
	defer late.Stop()
	k.tlsa.close(late.C)
	if k.asker.close(late.C) && k.notifier.Close(late.C) {
		k.pickup.Close(late.C)
	}
}
