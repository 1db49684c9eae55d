package keeper

import (
	"context"
	"errors"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
)

// While another mailcertd asks the ACME CA, this one waits. Afterwards it asks nothing, because the answer may have
// come.
func TestAskAfterAnother(t *testing.T) {
	x := &acmeAsker{dir: t.TempDir()}
	lock, err := durable.TryLock(x.dir)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := x.Ask(t.Context(), issuer.Request{})
		asked <- err
	}()
	select {
	case err := <-asked:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(3 * busyStep):
	}
	lock.Unlock()
	if err := <-asked; !errors.Is(err, errBusy) {
		t.Errorf("it asked: %v", err)
	}
	// The options are empty, so asking fails.
	if _, err := x.Ask(t.Context(), issuer.Request{}); err == nil || errors.Is(err, errBusy) {
		t.Errorf("no other mailcertd asks, and this one did not try: %v", err)
	}
	lock, err = durable.TryLock(x.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), busyStep)
	defer cancel()
	if _, err := x.Ask(ctx, issuer.Request{}); !errors.Is(err, errBusy) {
		t.Errorf("after its time: %v", err)
	}
	if err := x.taken(issuer.Request{}); !errors.Is(err, errBusy) { // taken is called in the loop, so it must not wait
		t.Errorf("taken: %v", err)
	}
}
