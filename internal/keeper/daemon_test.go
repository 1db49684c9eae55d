package keeper

import (
	"errors"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// Whoever asks whether a daemon runs makes nothing, and keeps no daemon from starting.
func TestDaemonIsSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	before := snapshot(t, s.root)
	if is := s.daemon(); is != plan.DaemonUnknown || snapshot(t, s.root) != before {
		t.Errorf("without a state directory: %v", is)
	}
	lock, err := s.LockDaemon()
	if err != nil {
		t.Fatal(err)
	}
	if is := s.daemon(); is != plan.DaemonRuns {
		t.Errorf("while one runs: %v", is)
	}
	if _, err := s.LockDaemon(); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second daemon: %v", err)
	}
	lock.Unlock()
	if is := s.daemon(); is != plan.DaemonAway {
		t.Errorf("while none runs: %v", is)
	}
	asks, err := durable.TryLock(s.cfg.State.Dir) // as a verb does for a moment
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(daemonPatience/4, asks.Unlock)
	if lock, err = s.LockDaemon(); err != nil {
		t.Errorf("a verb keeps the daemon from starting: %v", err)
	}
	lock.Unlock()
}
