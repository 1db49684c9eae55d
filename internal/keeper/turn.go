package keeper

import (
	"context"
	"errors"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
)

// turn lets one mailcertd after another ask an issuer on another host. It is the kernel's lock on a directory, so that
// it ends with the process that asks.
type turn struct {
	dir      string
	patience time.Duration // the longest time that one question takes
}

// errBusy says that another mailcertd was asking the CA and that this one has asked nothing. The next look decides
// whether there is still something to ask.
var errBusy = errors.New("another mailcertd was asking the CA")

// busyStep is the time between two attempts to get the lock that another mailcertd holds while it asks.
const busyStep = 200 * time.Millisecond

// after waits until no other mailcertd asks the CA, at most as long as one question may take. It returns errBusy if it
// had to wait, because the other process may have got the certificate that this one wanted.
func (u turn) after(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, u.patience)
	defer cancel()
	for waited := false; ; waited = true {
		lock, err := durable.TryLock(u.dir)
		switch {
		case err == nil && waited:
			lock.Unlock()
			return errBusy
		case err == nil:
			lock.Unlock()
			return nil
		case !errors.Is(err, durable.ErrLocked):
			return err
		}
		select {
		case <-ctx.Done():
			return errBusy
		case <-time.After(busyStep):
		}
	}
}

// alone calls ask while it holds the lock. It returns errBusy when another process holds it.
func (u turn) alone(ask func() error) error {
	lock, err := durable.TryLock(u.dir)
	if errors.Is(err, durable.ErrLocked) {
		return errBusy
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return ask()
}

// taken reports whether a mailcertd asks now.
func (u turn) taken() bool {
	lock, err := durable.TryLock(u.dir)
	if err == nil {
		lock.Unlock()
	}
	return errors.Is(err, durable.ErrLocked)
}

// inTurn asks the CA host when no other mailcertd does.
type inTurn struct {
	turn
	to issuer.Issuer
}

// Ask implements issuer.Issuer. Without the directory for the lock nothing is waited for: the CA host answers the same
// request twice with the same certificate.
func (x inTurn) Ask(ctx context.Context, r issuer.Request) (reply issuer.Reply, err error) {
	if err := x.after(ctx); errors.Is(err, errBusy) {
		return reply, err
	}
	asked := false
	err = x.alone(func() error {
		asked = true
		reply, err = x.to.Ask(ctx, r)
		return err
	})
	if err != nil && !asked && !errors.Is(err, errBusy) {
		return x.to.Ask(ctx, r)
	}
	return reply, err
}
