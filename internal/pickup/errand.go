package pickup

import (
	"context"
	"fmt"
	"time"

	"mailcertd/internal/command"
)

// errand is a command that runs beside the loop and without the lock, for as long
// as its patience and its context let it. It shares nothing with the Teller that
// changes.
type errand struct {
	of   string        // what it is for: a set, the identity of a file; "": its name says all
	done chan struct{} // closed when said and err are there
	said error         // what the command said, for a message; nil: nothing
	err  error
}

// errand is the one of that name: the one that is out, or the one that f begins
// now. There are never two of one name. finished forgets it, when its outcome has
// been taken in.
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

// over says that it has ended: its outcome may be read.
func (e *errand) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// wait gives its outcome, errWaiting when it is not there within d.
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

// Close waits for the commands that are out, once their context is done, and until late at the longest: none of ours
// must stay behind.
func (t *Teller) Close(late <-chan time.Time) {
	for _, e := range t.errands {
		select {
		case <-e.done:
		case <-late:
			return
		}
	}
}

// CommandPatience bounds a configured command.
const CommandPatience = time.Minute

// run starts a configured command, for patience at most. output is what it
// said, for a message; nil: nothing.
func run(ctx context.Context, argv []string, patience time.Duration) (output error, err error) {
	said, err := command.Command{Argv: argv, Patience: patience}.Run(ctx)
	if text := said.Text(); text != "" {
		output = fmt.Errorf("it said %q", text)
	}
	return output, err
}
