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
