// Package rcd runs mailcertd under rc(8): the one loop of the daemon, its signals, and the log.
package rcd

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/watch"
)

// Keeper does the work of the loop.
type Keeper interface {
	// Look makes everything right and returns the latest time for the next look; zero: nothing is due.
	Look(ctx context.Context, why string) (next time.Time, err error)
}

// Watch is the source of events, a watch.Watcher.
type Watch interface {
	C() <-chan watch.Event
	Absorb()
	Run(ctx context.Context) error
}

// Options are the parts of the loop. All but Wake and MaxIdle are required.
type Options struct {
	Keeper Keeper
	// Reload reads the configuration again and hands it to all who need it. After an error the old one stays in force.
	// The loop calls it between two looks.
	Reload  func(ctx context.Context) error
	Watch   Watch
	Signals <-chan os.Signal
	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
	// Wake receives a value when something has arrived that causes no file event; nil: never.
	Wake <-chan struct{}
	// MaxIdle is the longest time between two looks; zero: an hour.
	MaxIdle time.Duration
	Log     hclog.Logger
}

const (
	defaultIdle = time.Hour
	// leastWait is the shortest time between two looks, so that a look that is always due does not become a busy loop.
	leastWait = time.Second
)

// result is the result of one look.
type result struct {
	next time.Time
	err  error
}

// Run looks at once, and again whenever something happens, until ctx is done or the first SIGTERM or SIGINT. Then it
// cancels the look that is running and waits for it. The second such signal has its default effect. Only this goroutine
// decides. A look runs in a goroutine of its own, one at a time; events during a look cause one more.
func Run(ctx context.Context, o Options) error {
	if o.MaxIdle <= 0 {
		o.MaxIdle = defaultIdle
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching := make(chan error, 1)
	go func() { watching <- o.Watch.Run(ctx) }()
	defer func() { cancel(); <-watching }()

	done := make(chan result, 1)
	busy, again, reload := false, "", false
	look := func(why string) {
		if busy {
			again = why
			return
		}
		busy = true
		reloading := reload
		reload = false
		go func() {
			if reloading {
				if err := o.Reload(ctx); err != nil {
					o.Log.Error("the configuration has errors, so the old one stays in force: run `mailcertd config`, "+
						"correct the file, then reload", "error", err.Error())
				}
			}
			// Absorb comes before the look, so that changes during it count as new, also our own. They cause one more
			// look, which finds nothing to do.
			o.Watch.Absorb()
			next, err := o.Keeper.Look(ctx, why)
			done <- result{next, err}
		}()
	}
	finish := func() {
		cancel()
		if busy {
			<-done
		}
		o.Log.Info("stopped")
	}
	var wake <-chan time.Time
	var wrong trouble
	look("start")
	for {
		select {
		case <-ctx.Done():
			finish()
			return nil
		case s := <-o.Signals:
			switch s {
			case syscall.SIGHUP:
				reload = true
				look("reload")
			case syscall.SIGTERM, os.Interrupt:
				finish()
				return nil
			}
		case e := <-o.Watch.C():
			o.Log.Debug("something changed", "why", e.Why, "path", e.Path)
			look(e.Why)
		case <-o.Wake:
			look("an answer arrived")
		case <-wake:
			look("time")
		case r := <-done:
			busy = false
			if ctx.Err() == nil {
				wrong.tell(o.Log, r.err, o.Now())
			}
			wait := o.MaxIdle
			if !r.next.IsZero() {
				wait = max(leastWait, min(wait, r.next.Sub(o.Now())))
			}
			wake = o.After(wait)
			if again != "" {
				why := again
				again = ""
				look(why)
			}
		}
	}
}
