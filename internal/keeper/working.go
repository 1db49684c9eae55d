package keeper

import (
	"context"
	"crypto"
	"time"

	"mailcertd/internal/pki"
)

// stillEvery is how often the log says that long work still goes on.
const stillEvery = time.Minute

// working tells of work that may take long, until done is called: a terminal at
// once, the log once a minute. atMost is its limit; zero: nobody knows.
func (k *Keeper) working(what string, atMost time.Duration) (done func()) {
	shown := k.o.Progress(what, atMost)
	every := k.testOnlyStillEvery
	if every == 0 {
		every = stillEvery
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := time.Duration(1); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				kv := []any{"for", (n * every).String()}
				if atMost > 0 {
					kv = append(kv, "at_most", atMost.String())
				}
				k.log(Info, "still running: "+what, kv...)
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
		shown()
	}
}

// newKey makes a private key. RSA takes seconds, on an old machine minutes: the
// search for its primes has no length that could be foretold, and SIGTERM does
// not wait for it.
func (k *Keeper) newKey(ctx context.Context, t pki.KeyType) (crypto.Signer, error) {
	defer k.working("making a new "+string(t)+" key", 0)()
	return pki.GenerateKeyContext(ctx, t, k.o.Rand)
}
