package pickup

import (
	"context"
	"fmt"
	"time"

	"mailcertd/internal/command"
)

// errand is a command that runs beside the loop and without the lock, until its patience or its context ends. It shares
// no data with the Teller that changes.
type errand struct {
	of   string        // the set or the file that it was started for; "" where the name says that
	done chan struct{} // closed when said may be read
	said error         // why the command failed, for a message; nil: it succeeded
	err  error
}

// errand returns the running command of that name, or starts f as one: of each name at most one runs. finished removes
// it after its outcome was noted.
func (t *Teller) errand(ctx context.Context, name, of string, f func(context.Context) (said, err error)) *errand {
	if e := t.errands[name]; e != nil {
		return e
	}
	e := &errand{of: of, done: make(chan struct{})}
	t.errands[name] = e
	go func() {
		e.said, e.err = f(ctx)
		close(e.done)
		select {
		case t.o.Wake <- struct{}{}:
		default:
		}
	}()
	return e
}

func (t *Teller) finished(name string) { delete(t.errands, name) }

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

// Close waits until the commands have ended, because none may outlive the daemon. Their context is done already; late
// limits the wait.
func (t *Teller) Close(late <-chan time.Time) {
	for _, e := range t.errands {
		select {
		case <-e.done:
		case <-late:
			return
		}
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
