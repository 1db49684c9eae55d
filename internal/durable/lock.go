package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// lockPoll is how long Lock waits between two tries.
const lockPoll = 20 * time.Millisecond

// Locked is a kernel lock on a directory. The kernel releases it when the process ends for any reason, so that there
// are no stale locks.
type Locked struct{ f *os.File }

// TryLock takes an exclusive flock(2) on the directory itself. The error is ErrLocked where another process holds it.
func TryLock(path string) (*Locked, error) { return try(path, unix.LOCK_EX) }

// Held reports whether another process holds the lock. Those who ask at the same time do not disturb each other.
func Held(path string) (bool, error) {
	l, err := try(path, unix.LOCK_SH)
	l.Unlock()
	if errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}

func try(path string, how int) (*Locked, error) {
	for {
		f, err := openDir(path, 0)
		if err != nil {
			return nil, err
		}
		for {
			err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%s: %w", path, ErrLocked)
			}
			return nil, fmt.Errorf("flock %s: %w", path, err)
		}
		// Another directory may have been renamed to path between open and flock.
		mine, err1 := f.Stat()
		there, err2 := stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return &Locked{f}, nil
		}
		f.Close()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
	}
}

// Lock waits for the lock until ctx is done.
func Lock(ctx context.Context, path string) (*Locked, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		l, err := TryLock(path)
		if err == nil || !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (probably another mailcertd): %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}

// Unlock releases the lock. It may be called on nil.
func (l *Locked) Unlock() {
	if l != nil {
		l.f.Close()
	}
}
