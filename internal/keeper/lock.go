package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/durable"
)

// lockPatience is how long a verb waits for another mailcertd. A proof may
// take over a minute: with an unqualified host name sendmail sleeps 60 s.
const lockPatience = 3 * time.Minute

// tryLock takes the kernel's lock on the certs directory, which is made first
// when it is missing: it is the first thing that any plan would make. nil and
// durable.ErrLocked: another mailcertd has it.
func (b *base) tryLock() (*durable.Locked, error) {
	dir := b.cfg.Certs.Dir
	if n := durable.Look(dir); n.Kind == durable.Missing && n.Err == nil {
		if err := b.o.Disk.MakeDirs(dir, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the certs directory: %w", err)
		}
		_ = b.o.Disk.MakeDirs(b.cfg.State.Dir, 0o700) // where it cannot be made, who writes the state says so
	}
	return durable.TryLock(dir)
}

// lock is tryLock for who waits.
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

// LockDaemon takes the lock that makes a second daemon refuse to start: on the
// state directory, else on the CA's newcerts, for as long as the process
// lives. With neither there is no lock, and nil is returned.
func (k *Keeper) LockDaemon() (*durable.Locked, error) {
	dir := k.cfg.State.Dir
	if err := k.o.Disk.MkdirAll(dir, 0o700); err != nil {
		dir = k.cfg.CA.Dir + "/newcerts"
		switch n := durable.Look(dir); {
		case n.Err != nil: // whether another daemon runs is not known
			return nil, errors.Join(err, n.Err)
		case !n.IsDir:
			return nil, nil
		}
	}
	return durable.TryLock(dir)
}
