package keeper

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan"
)

// daemonPatience is how long a daemon that starts waits for the lock of another one. A verb that finds out whether one
// runs holds the lock for a moment.
const daemonPatience = time.Second

// LockDaemon takes the lock that makes a second daemon refuse to start, for as long as the process lives. The lock is
// on the state directory or, where that cannot be made, on the CA's newcerts. Where neither exists it returns nil and
// no error: there is no lock.
func (k *Keeper) LockDaemon() (*durable.Locked, error) {
	dir := k.cfg.State.Dir
	if err := k.o.Disk.MkdirAll(dir, 0o700); err != nil {
		dir = filepath.Join(k.cfg.CA.Dir, ca.NewCertsDir)
		switch n := durable.Look(dir); {
		case n.Err != nil: // it is not known whether another daemon runs
			return nil, errors.Join(err, n.Err)
		case !n.IsDir:
			return nil, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), daemonPatience)
	defer cancel()
	lock, err := durable.Lock(ctx, dir)
	if errors.Is(err, durable.ErrLocked) { // that it has waited is of no interest
		err = fmt.Errorf("%s: %w", dir, durable.ErrLocked)
	}
	return lock, err
}

// daemon finds out whether a daemon runs. It makes no directory.
func (k *Keeper) daemon() plan.Daemon {
	is := plan.DaemonUnknown
	for _, dir := range []string{k.cfg.State.Dir, filepath.Join(k.cfg.CA.Dir, ca.NewCertsDir)} {
		switch held, err := durable.Held(dir); {
		case held:
			return plan.DaemonRuns
		case err == nil && dir == k.cfg.State.Dir:
			is = plan.DaemonAway
		}
	}
	return is
}

// Report is Check for a person, who is also told what waits for a daemon where none runs.
func (k *Keeper) Report(ctx context.Context, wish plan.Wish) Result {
	obs := k.observer.observe(ctx)
	obs.Daemon = k.daemon()
	return Result{View: pickup.View{Observed: obs, Plan: plan.Make(k.cfg, obs, wish, k.o.Now())}}
}
