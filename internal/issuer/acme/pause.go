package acme

import (
	"context"
	"time"
)

// Bounds of the wait before the CA is asked again how far it is.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
)

// pauses are the waits between two looks at something: as long as Retry-After says, else longer and longer.
type pauses struct{ next time.Duration }

// notYet says that the CA wants to be asked only after the time that a question has.
type notYet struct{ at time.Time }

func (e notYet) Error() string {
	return "the CA asks for patience until " + e.at.UTC().Format(time.RFC3339)
}

// wait waits. Where the CA wants to be asked only after the end of ctx, it does not wait at all: notYet.
func (p *pauses) wait(ctx context.Context, w *wire) error {
	if p.next == 0 {
		p.next = firstPause
	}
	d := p.next
	p.next = min(2*p.next, longPause)
	if at, has := w.retryAfter(); has {
		d = max(at.Sub(w.now()), firstPause)
	}
	if end, has := ctx.Deadline(); has && d > time.Until(end) {
		return notYet{w.now().Add(d)}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
