package acme

import (
	"context"
	"time"

	"mailcertd/internal/text"
)

// The shortest and longest wait before the CA is asked again about its progress.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
)

// pauses computes the waits between two questions about the same thing: as long as Retry-After says, else longer each
// time.
type pauses struct{ next time.Duration }

// notYet says that the CA wants to be asked again only after the time limit of this question.
type notYet struct{ at time.Time }

func (e notYet) Error() string {
	return "the CA asks to wait until " + text.Moment(e.at)
}

// wait waits until the next question. If the CA wants to be asked only after the end of ctx, it returns notYet at once.
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
