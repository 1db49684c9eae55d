package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/durable"
)

// lockPatience is how long a verb waits for another mailcertd. To prove a pickup can take over a minute: with an
// unqualified host name sendmail sleeps for 60 seconds.
const lockPatience = 3 * time.Minute

// tryLock takes the kernel's lock on the certs directory without waiting. It makes the directory if it is missing, as
// any plan would do first. It returns nil and durable.ErrLocked when another mailcertd has the lock.
func (b *base) tryLock() (*durable.Locked, error) {
	dir := b.cfg.Certs.Dir
	if n := durable.Look(dir); n.Kind == durable.Missing && n.Err == nil {
		if err := b.o.Disk.MakeDirs(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the certs directory: %w", err)
		}
		_ = b.o.Disk.MakeDirs(b.cfg.State.Dir, 0o700) // an error is ignored here: whoever writes the state reports it
	}
	return durable.TryLock(dir)
}

// lock takes the lock as tryLock does, but waits up to lockPatience for another mailcertd.
func (b *base) lock(ctx context.Context) (*durable.Locked, error) {
	l, err := b.tryLock()
	if err == nil || !errors.Is(err, durable.ErrLocked) {
		return l, err
	}
	dir := b.cfg.Certs.Dir
	defer b.working("waiting until another mailcertd has finished with "+dir, lockPatience)()
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return durable.Lock(ctx, dir)
}

// LockDaemon takes the lock that makes a second daemon refuse to start, for as long as the process lives. The lock is
// on the state directory or, where that cannot be made, on the CA's newcerts. Where neither exists it returns nil and
// no error: there is no lock.
func (k *Keeper) LockDaemon() (*durable.Locked, error) {
	dir := k.cfg.State.Dir
	if err := k.o.Disk.MkdirAll(dir, 0o700); err != nil {
		dir = k.cfg.CA.Dir + "/newcerts"
		switch n := durable.Look(dir); {
		case n.Err != nil: // it is not known whether another daemon runs
			return nil, errors.Join(err, n.Err)
		case !n.IsDir:
			return nil, nil
		}
	}
	return durable.TryLock(dir)
}
