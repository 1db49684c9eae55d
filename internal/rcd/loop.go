// Package rcd is life under rc(8): the one loop, its signals, and the log.
package rcd

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/watch"
)

// Keeper is what the loop drives.
type Keeper interface {
	// Look makes everything right and says when to look again at the latest; the
	// zero time means that nothing is due.
	Look(ctx context.Context, why string) (next time.Time, err error)
}

// Watch is where events come from.
type Watch interface {
	C() <-chan watch.Event
	Absorb()
	Run(ctx context.Context) error
}

// Options is what the loop needs. All but Wake and MaxIdle are required.
type Options struct {
	Keeper Keeper
	// Reload reads the configuration again and hands it to all who need it; on an error the old one stays. It comes
	// between two looks.
	Reload  func(ctx context.Context) error
	Watch   Watch
	Signals <-chan os.Signal
	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
	// Wake says that something arrived which no file tells; nil: never.
	Wake <-chan struct{}
	// MaxIdle is the longest time between two looks; zero: an hour.
	MaxIdle time.Duration
	Log     hclog.Logger
}

const (
	defaultIdle = time.Hour
	// leastWait keeps a look that is due again at once from becoming a busy loop.
	leastWait = time.Second
)

// result is what one look came to.
type result struct {
	next time.Time
	err  error
}

// Run looks, and looks again whenever something happens, until ctx is done or
// the first SIGTERM or SIGINT; a look under way is cancelled then and awaited.
// The second such signal is left to the system. Only this goroutine decides;
// a look runs in another one, never two at a time, and what happens meanwhile
// makes one more look.
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
					o.Log.Error("the configuration was not read: the old one stays in force", "error", err.Error())
				}
			}
			// Before the look: what changes while it goes on is news, our own writes
			// included. They cost one more look, which finds nothing to do.
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
