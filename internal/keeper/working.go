package keeper

import (
	"time"
)

// stillEvery is how often the log says that long work still goes on.
const stillEvery = time.Minute

// working tells that long work goes on until done is called: a terminal at once, the log once a minute. atMost is the
// time limit of the work; zero means that it is not known.
func (b *base) working(what string, atMost time.Duration) (done func()) {
	shown := b.o.Progress(what, atMost)
	every := b.testOnlyStillEvery
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
				b.log(Info, "still running: "+what, kv...)
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
		shown()
	}
}
