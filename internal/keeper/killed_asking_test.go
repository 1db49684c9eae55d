package keeper

import (
	"context"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/plan"
)

// A process asks the CA host for a certificate for a new key. Another one waits for it, and does not wait any more when
// that process was killed.
func TestKilledWhileAsking(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "", "key: {type: ecdsa-p256, rotate_after: 100}\n", "mx.example.org")
	m := f.members["mx.example.org"]
	f.day(0)
	f.ca.now = f.ca.now.Add(101 * 24 * time.Hour)
	f.ca.believed()
	m.now = f.ca.now
	m.believed()
	ask := m.o.Issuer
	asking, killed := make(chan struct{}), make(chan struct{})
	m.o.Issuer = issuer.Channel(func(ctx context.Context, _ []byte) ([]byte, error) {
		close(asking)
		<-ctx.Done()
		<-killed
		return nil, ctx.Err()
	})
	k := New(m.o)
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = k.Renew(ctx, plan.Wish{Once: true})
	}()
	<-asking
	asks := func(r Result) bool { return r.Plan.Ask != nil && r.Plan.Ask.Request != nil }
	m.o.Issuer = ask
	other := New(m.o)
	if r := other.Check(t.Context(), plan.Wish{}); asks(r) || r.Plan.Next.Sub(m.now) > time.Minute {
		t.Errorf("while one process asks, another asks too: %v, or looks again in %s", asks(r),
			r.Plan.Next.Sub(m.now))
	}
	kill()
	close(killed)
	<-ended
	if r := other.Check(t.Context(), plan.Wish{}); !asks(r) {
		t.Errorf("that process was killed, and the next one looks again in %s: %s", r.Plan.Next.Sub(m.now),
			r.Plan.NextWhat)
	}
	was := m.contents()["host.key"]
	m.Keeper = other
	f.day(0)
	if m.contents()["host.key"] == was {
		t.Error("the host has no new key")
	}
}
