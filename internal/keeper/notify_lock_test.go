package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// slow is a notify command that counts its runs and does not end until the test allows it.
type slow struct {
	t       *testing.T
	dir     string
	yaml    string
	started func() int
}

func newSlow(t *testing.T) *slow {
	dir := t.TempDir()
	c := &slow{t: t, dir: dir, started: func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "runs"))
		return strings.Count(string(b), "x")
	}}
	c.yaml = "notify: [[sh, -c, 'echo x >>" + dir + "/runs; until test -e " + dir + "/go; do sleep 0.01; done']]"
	return c
}

func (c *slow) mayEnd(may bool) {
	if may {
		_ = os.WriteFile(filepath.Join(c.dir, "go"), nil, 0o600)
	} else {
		_ = os.Remove(filepath.Join(c.dir, "go"))
	}
}

func (c *slow) wait(n int) {
	c.t.Helper()
	for until := time.Now().Add(10 * time.Second); c.started() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			c.t.Fatalf("%d runs, want %d", c.started(), n)
		}
	}
}

// beside returns another process on the same files.
func (s *site) beside() *site {
	other := &site{t: s.t, root: s.root, now: s.now}
	o := s.o
	o.Now = func() time.Time { return other.now }
	other.Keeper = New(o)
	return other
}

func (s *site) look() {
	s.t.Helper()
	if _, err := s.Look(s.t.Context(), "test"); err != nil {
		s.t.Fatal(err)
	}
}

// A slow notify command does not keep the lock, neither for a verb nor for the daemon, and no other process runs it a
// second time meanwhile.
func TestNotifyHoldsNoLock(t *testing.T) {
	for _, verb := range []bool{true, false} {
		t.Run(map[bool]string{true: "a verb", false: "the daemon"}[verb], func(t *testing.T) {
			t.Parallel()
			c := newSlow(t)
			s := newSite(t, c.yaml)
			other := s.beside()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if verb {
					s.settle(plan.Wish{})
				} else {
					s.look()
				}
			}()
			c.wait(1)
			if !verb {
				<-ended // the look has ended, and the command runs
			}
			lock, err := durable.TryLock(s.cfg.Certs.Dir)
			for until := time.Now().Add(5 * time.Second); err != nil &&
				time.Now().Before(until); time.Sleep(time.Millisecond) {
				lock, err = durable.TryLock(s.cfg.Certs.Dir)
			}
			if err != nil {
				t.Fatalf("while the command runs: %v", err)
			}
			lock.Unlock()
			// The certificate is renewed meanwhile, and the command is not started a second time.
			before := other.leaf().SerialNumber.String()
			if r, err := other.Settle(t.Context(),
				plan.Wish{Renew: true, From: pki.Fingerprint(other.leaf()), Once: true}); err != nil ||
				len(r.Plan.State.Notify) != 1 {
				t.Fatalf("%v, %+v", err, r.Plan.State.Notify)
			}
			if other.leaf().SerialNumber.String() == before || c.started() != 1 {
				t.Errorf("renewed: %v; %d runs", other.leaf().SerialNumber.String() != before, c.started())
			}
			c.mayEnd(true)
			<-ended
			s.Close(10 * time.Second)
			s.look() // the result is taken in, and a run for the newer set is pending
			c.wait(2)
			s.Close(10 * time.Second)
			s.look()
			if st, _ := s.state.loadState(); len(st.Notify) != 0 || c.started() != 2 ||
				st.Notified[strings.Join(s.cfg.Notify[0], " ")] == "" {
				t.Errorf("pending %+v, notified %v, %d runs", st.Notify, st.Notified, c.started())
			}
		})
	}
}

// Two commands run at the same time: the one that hangs does not delay the other.
func TestNotifyEachForItself(t *testing.T) {
	c := newSlow(t)
	other := filepath.Join(t.TempDir(), "told")
	s := newSite(t, strings.TrimSuffix(c.yaml, "]")+", [touch, "+other+"]]")
	s.look()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(other); err == nil {
			break
		} else if time.Now().After(until) {
			t.Fatal("the second command waits for the first")
		}
	}
	c.mayEnd(true)
	s.Close(10 * time.Second)
}

// A process that dies while the command runs leaves the run pending. Another process runs the command when the time
// limit of the interrupted run has passed, and not before.
func TestNotifyAfterACrash(t *testing.T) {
	c := newSlow(t)
	c.mayEnd(true)
	s := newSite(t, c.yaml)
	s.settle(plan.Wish{})
	line := strings.Join(s.cfg.Notify[0], " ")
	s.state.change(t.Context(), func(st *state.State) {
		pickup.OweNotify(st, s.cfg.Notify[0], st.Notified[line])
		st.Notify[line].Running = s.now.Add(time.Minute)
	})
	other := s.beside()
	next, err := other.Look(t.Context(), "test")
	if err != nil || c.started() != 1 || !next.Equal(s.now.Add(time.Minute)) {
		t.Fatalf("%v, %d runs, looks again at %s", err, c.started(), next)
	}
	other.now = next
	other.look()
	c.wait(2)
	other.Close(10 * time.Second)
	other.look()
	if st, _ := other.state.loadState(); len(st.Notify) != 0 || c.started() != 2 {
		t.Errorf("pending %+v, %d runs", st.Notify, c.started())
	}
	// A clock that was set back does not delay it for ever.
	s.state.change(t.Context(), func(st *state.State) {
		pickup.OweNotify(st, s.cfg.Notify[0], st.Notified[line])
		st.Notify[line].Running = s.now.Add(time.Hour)
	})
	if s.settle(plan.Wish{}); c.started() != 3 {
		t.Errorf("%d runs after the clock was set back", c.started())
	}
}
