package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// A verb waits for sendmail, and the daemon gets the lock meanwhile and proves the pickup. The verb then finds no
// pending pickup. It must report the proof and not stay silent.
func TestDaemonSeesWhatAVerbWaitsFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	s := newSite(t, "sendmail: {probe: \""+closed+"\"}")
	s.now = time.Now() // after the boot
	s.settle(plan.Wish{})
	s.write(s.cfg.Sendmail.CF,
		fmt.Appendf(nil, "O ServerCertFile=%s\nO ServerKeyFile=%s\nO CACertFile=%s\nO CACertPath=%s\n",
			s.certs("host.cert"), s.certs("host.key"), s.certs("cacert.pem"), s.cfg.Certs.Dir))
	r := s.settle(plan.Wish{})
	// sendmail got its HUP a moment ago, and has not restarted yet.
	pending := r.Plan.State.Clone()
	pending.Pickup = &state.Pickup{Set: r.Plan.Facts.Set, Since: s.now,
		HUPs: []state.HUP{{Instance: state.Instance{PID: 7}, At: s.now, Sent: true}}}
	if err := state.Save(s.o.Disk, s.cfg.State.Dir, pending); err != nil {
		t.Fatal(err)
	}
	daemon := make(chan error, 1)
	var once sync.Once
	s.o.Progress = func(string, time.Duration) func() { // the verb waits now, and will give the lock back
		go once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			lock, err := durable.Lock(ctx, s.cfg.Certs.Dir)
			if err != nil {
				daemon <- err
				return
			}
			defer lock.Unlock()
			seen := pending.Clone()
			seen.Pickup = nil
			seen.PickedUp = state.PickedUp{Set: r.Plan.Facts.Set, At: s.now, How: plan.Proven, Addr: "127.0.0.1:25"}
			daemon <- state.Save(&durable.Disk{}, s.cfg.State.Dir, seen)
		})
		return func() {}
	}
	got, err := s.Settle(context.Background(), plan.Wish{Once: true})
	once.Do(func() { daemon <- errors.New("the verb did not wait") })
	if derr := <-daemon; err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	if p := got.Pickup; p == nil || p.Result != plan.Proven || p.Addr != "127.0.0.1:25" ||
		p.Serial != serial(s.leaf()) {
		t.Errorf("%+v", p)
	}
}

// A failed pickup is tried again by the daemon after its backoff, and by a person at once.
func TestPersonRetriesThePickup(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	s := newSite(t, "sendmail: {probe: \""+closed+"\", pid_file: /sendmail.pid}")
	s.settle(plan.Wish{})
	// With such a pid file a sendmail may run, and only asking it can tell.
	s.write(s.cfg.Sendmail.PidFile, []byte("no number\n"))
	s.write(s.cfg.Sendmail.CF, fmt.Appendf(nil, "O ServerCertFile=%s\n", s.certs("host.cert")))
	r := s.settle(plan.Wish{})
	pending := r.Plan.State.Clone()
	pending.Pickup = &state.Pickup{Set: r.Plan.Facts.Set, Since: s.now, Attempts: 3, LastError: "it did not serve it",
		Next: s.now.Add(time.Hour)}
	if err := state.Save(s.o.Disk, s.cfg.State.Dir, pending); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Settle(context.Background(), plan.Wish{}); err != nil || r.Pickup != nil ||
		r.Plan.State.Pickup == nil {
		t.Errorf("the daemon does not wait: %v, %+v", err, r.Pickup)
	}
	// No program listens, so no pickup is pending.
	if r := s.settle(plan.Wish{}); r.Pickup == nil || r.Plan.State.Pickup != nil {
		t.Errorf("for a person it was not tried again at once: %+v, %+v", r.Pickup, r.Plan.State.Pickup)
	}
}

// Two problems with the same reason and path are logged once each, not at every look.
func TestToldOnce(t *testing.T) {
	said := map[string]int{}
	k := New(Options{Log: func(e Event) { said[e.Msg]++ }})
	two := plan.Plan{Problems: []plan.Problem{
		{Reason: plan.Unreadable, Severity: plan.Warning, Path: "/state", Text: "no list"},
		{Reason: plan.Unreadable, Severity: plan.Warning, Path: "/state", Text: "no look"},
	}}
	for _, p := range []plan.Plan{two, two, two, {}, two} { // they are logged again after they had disappeared
		k.problems.tell(p)
	}
	if said["no list"] != 2 || said["no look"] != 2 {
		t.Errorf("logged %v", said)
	}
}
