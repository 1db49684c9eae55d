package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Waiting for another process is shown on a terminal once, with the time limit, and logged again and again until it
// ends.
func TestWorking(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	if err := os.Remove(filepath.Join(s.cfg.Certs.Dir, "dh.param")); err != nil { // there is something to do
		t.Fatal(err)
	}
	lock, err := durable.TryLock(s.cfg.Certs.Dir)
	if err != nil {
		t.Fatal(err)
	}
	shown, logged := make(chan string, 10), make(chan string, 1000)
	s.o.Progress = func(what string, atMost time.Duration) func() {
		shown <- fmt.Sprint(what, " ", atMost)
		return func() { shown <- "done" }
	}
	s.o.Log = func(e Event) { logged <- fmt.Sprint(append([]any{e.Msg}, e.KV...)...) }
	s.testOnlyStillEvery = 10 * time.Millisecond
	ended := make(chan error, 1)
	go func() {
		_, err := s.Settle(context.Background(), plan.Wish{Once: true})
		ended <- err
	}()
	dir := s.cfg.Certs.Dir
	if got := <-shown; got != "waiting until another mailcertd has finished with "+dir+" 3m0s" {
		t.Error(got)
	}
	for _, want := range []string{"10ms", "20ms"} {
		if got := <-logged; got != "still running: waiting until another mailcertd has finished with "+dir+"for"+want+
			"at_most3m0s" {
			t.Error(got)
		}
	}
	lock.Unlock()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := <-shown; got != "done" {
		t.Error(got)
	}
}

type blocks struct{ release chan struct{} }

func (b blocks) Read([]byte) (int, error) { <-b.release; return 0, io.EOF }

// SIGTERM stops the program although the search for primes goes on.
func TestNewKeyStops(t *testing.T) {
	s := newSite(t, "")
	release := make(chan struct{})
	defer close(release)
	s.o.Rand = blocks{release}
	ctx, cancel := context.WithCancel(context.Background())
	s.o.Progress = func(what string, _ time.Duration) func() {
		if !strings.Contains(what, "rsa-4096") {
			t.Error(what)
		}
		cancel()
		return func() {}
	}
	if _, err := s.newKey(ctx, pki.RSA4096); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
