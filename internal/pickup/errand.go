package pickup

import (
	"context"
	"fmt"
	"time"

	"mailcertd/internal/command"
)

// errand is a command that runs beside the loop and without the lock, until its patience or its context ends. It shares
// no data that changes with whoever started it.
type errand struct {
	of   string        // the set or the file that it was started for; "" where the name says that
	done chan struct{} // closed when said may be read
	said error         // why the command failed, for a message; nil: it succeeded
	err  error
}

// errands are the running commands, and those whose outcome is not noted yet, by name.
type errands struct {
	named map[string]*errand
	wake  chan struct{} // Options.Wake
}

func newErrands(wake chan struct{}) errands { return errands{map[string]*errand{}, wake} }

// start returns the running command of that name, or starts f as one: of each name at most one runs. finished removes
// it after its outcome was noted.
func (s errands) start(ctx context.Context, name, of string, f func(context.Context) (said, err error)) *errand {
	if e := s.named[name]; e != nil {
		return e
	}
	e := &errand{of: of, done: make(chan struct{})}
	s.named[name] = e
	go func() {
		e.said, e.err = f(ctx)
		close(e.done)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}()
	return e
}

func (s errands) finished(name string) { delete(s.named, name) }

// Close waits until the commands have ended, because none may outlive the daemon. Their context is done already. It
// returns false where late came first.
func (s errands) Close(late <-chan time.Time) bool {
	for _, e := range s.named {
		select {
		case <-e.done:
		case <-late:
			return false
		}
	}
	return true
}

// over reports whether the command has ended, so that said may be read.
func (e *errand) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// wait returns the outcome of the command, or errWaiting after d.
func (e *errand) wait(ctx context.Context, d time.Duration) error {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errWaiting
	}
}

// CommandPatience is how long a configured command may run.
const CommandPatience = time.Minute

// run runs a configured command for patience at most. output holds what it printed, for a message; nil: nothing.
func run(ctx context.Context, argv []string, patience time.Duration) (output error, err error) {
	said, err := command.Command{Argv: argv, Patience: patience}.Run(ctx)
	if text := said.Text(); text != "" {
		output = fmt.Errorf("it said %q", text)
	}
	return output, err
}
