package keeper

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// The reason why a pickup has failed is reported in full, also where the program that listens cannot be asked.
func TestWhyThePickupFailed(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		runs bool   // sendmail runs, and got its one HUP a while ago
		says string // this text, with the reason why sendmail could not be asked
	}{
		"it has not restarted": {true, "got its HUP at "},
		"its pid file is gone": {false, "cannot find out which one (there is no pid file): "},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				fmt.Fprint(c, "554 a milter is away\r\n")
				c.Close()
			}
		}()
		s := newSite(t, "sendmail: {probe: \""+l.Addr().String()+"\", pid_file: /sendmail.pid}")
		s.now = time.Now()
		s.cfg.Sendmail.Program = exe
		s.settle(plan.Wish{})
		s.write(s.cfg.Sendmail.CF,
			fmt.Appendf(nil, "O ServerCertFile=%s\nO ServerKeyFile=%s\nO CACertFile=%s\nO CACertPath=%s\n",
				s.certs("host.cert"), s.certs("host.key"), s.certs("cacert.pem"), s.cfg.Certs.Dir))
		told := s.now.Add(-time.Second)
		if c.runs {
			s.write(s.cfg.Sendmail.PidFile, fmt.Appendf(nil, "%d\n%s -bd\n", os.Getpid(), exe))
			told = mta.BootTime()
		}
		r := s.Check(t.Context(), plan.Wish{})
		pending := r.Plan.State.Clone()
		pending.Pickup = &state.Pickup{Set: r.Plan.Facts.Set, Since: told, WasUp: true,
			Instance: plan.Instance(r.Observed.MTA),
			HUPs:     []state.HUP{{Instance: plan.Instance(r.Observed.MTA), At: told, Sent: true}}}
		if !c.runs { // the pickup was noted for another instance than the one that runs now
			pending.Pickup.HUPs[0].Instance.PID = 7
		}
		if err := state.Save(s.o.Disk, s.cfg.State.Dir, pending); err != nil {
			t.Fatal(err)
		}
		r, err = s.Settle(context.Background(), plan.Wish{Once: true})
		d := r.Plan.State.Pickup
		if err != nil || d == nil || d.Unseen {
			t.Errorf("%s: %v, %+v, %s", name, err, d, strings.Join(s.log, "\n"))
			continue
		}
		for _, p := range r.Plan.Problems {
			if p.Reason == plan.PickupPending &&
				(!strings.Contains(p.Text, c.says) || !strings.Contains(p.Text, "a milter is away")) {
				t.Errorf("%s: %s", name, p.Text)
			}
		}
		if !reported(r.Plan, plan.PickupPending) {
			t.Errorf("%s: it is not reported: %s", name, reasons(r))
		}
	}
}

// sendmail cannot be asked and the pid file makes no sense. sendmail may have restarted after its HUP, so mailcertd
// does not start another one.
func TestNoStartUnseen(t *testing.T) {
	for what, starts := range map[string]bool{"no number\n": false, "": true} { // "" means that there is no pid file
		s := newSite(t, "sendmail: {probe: none, pid_file: /sendmail.pid, start_command: [\"true\"]}")
		s.now = time.Now()
		s.settle(plan.Wish{})
		s.write(s.cfg.Sendmail.CF, fmt.Appendf(nil, "O ServerCertFile=%s\n", s.certs("host.cert")))
		if what != "" {
			s.write(s.cfg.Sendmail.PidFile, []byte(what))
		}
		pending := s.Check(t.Context(), plan.Wish{}).Plan.State.Clone()
		pending.Pickup = &state.Pickup{Set: "x", WasUp: true,
			HUPs: []state.HUP{{Instance: state.Instance{PID: 7}, At: s.now, Sent: true}}}
		if err := state.Save(s.o.Disk, s.cfg.State.Dir, pending); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			s.now = s.now.Add(5 * time.Second)
			_, _ = s.Settle(context.Background(), plan.Wish{})
		}
		if got := strings.Contains(strings.Join(s.log, "\n"), "starting it again"); got != starts {
			t.Errorf("pid file %q: started: %v\n%s", what, got, strings.Join(s.log, "\n"))
		}
	}
}
