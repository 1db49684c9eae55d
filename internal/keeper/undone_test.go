package keeper

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// A change that failed before its commit has changed nothing, so no command of `notify` is run for it, now or after a
// crash.
func TestUndoneChangeNeedsNoPickup(t *testing.T) {
	for name, fault := range map[string]func(){"it fails": nil, "it is killed": func() { panic("killed") }} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			s := newSite(t, "notify: [[sh, -c, \"echo told >>"+out+"\"]]")
			s.settle(plan.Wish{})
			s.settle(plan.Wish{})
			told := func() int { b, _ := os.ReadFile(out); return strings.Count(string(b), "told") }
			if told() != 1 {
				t.Fatalf("notified %d times at first", told())
			}
			s.o.Disk.Before = func(p durable.Point) error {
				if p.Op == "rename" && filepath.Base(p.Path) == "journal" {
					if fault != nil {
						fault()
					}
					return syscall.EIO
				}
				return nil
			}
			func() {
				defer func() { _ = recover() }()
				if _, err := s.Settle(context.Background(),
					plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())}); err == nil {
					t.Error("no error")
				}
			}()
			st, _ := state.Load(s.cfg.State.Dir)
			if pending := len(st.Notify) > 0; pending != (fault != nil) {
				t.Errorf("noted: %+v", st.Notify)
			}
			// The next look installs the certificate that was signed. Before that there is nothing to notify.
			obs := s.observer.observe(context.Background())
			obs.CA.Issued = nil
			if p := plan.Make(s.cfg, obs, plan.Wish{}, s.now); p.Empty() && len(p.State.Notify) > 0 {
				t.Errorf("still pending: %+v", p.State.Notify)
			}
			if told() != 1 {
				t.Errorf("notified %d times", told())
			}
		})
	}
}

// A crash prevented a change for which a pickup was noted. The pickup is dropped if sendmail was seen to use the
// present set. It stays if sendmail got a HUP already, or if another sendmail runs.
func TestPickupOfALostChange(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	obs := s.observer.observe(context.Background())
	obs.CF.Missing, obs.CF.ServerCert = false, []string{s.certs("host.cert")}
	id := mta.Identity{Status: mta.OK, PID: 7, Instance: mta.Instance{PID: 7, PIDFile: "p", PIDFileID: "1"}}
	obs.MTA = id
	inst := plan.Instance(id)
	other := inst
	other.PID = 8
	for name, c := range map[string]struct {
		delivered state.Instance
		hups      []state.HUP
		dropped   bool
	}{
		"seen to use it":       {inst, nil, true},
		"another sendmail":     {other, nil, false},
		"it got a HUP already": {inst, []state.HUP{{Instance: inst}}, false},
	} {
		obs.State.PickedUp = state.PickedUp{Set: plan.SetID(obs.Certs), Instance: plan.InstanceID(c.delivered),
			How: plan.Proven}
		obs.State.Pickup = &state.Pickup{Set: "of a change that never came", Instance: inst, HUPs: c.hups}
		if p := plan.Make(s.cfg, obs, plan.Wish{}, s.now); (p.State.Pickup == nil) != c.dropped {
			t.Errorf("%s: %+v", name, p.State.Pickup)
		}
	}
}

// A damaged journal is dropped, and so is the rest of a change whose files another program has changed since. The log
// says so.
func TestDroppedJournalIsTold(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	if err := os.MkdirAll(s.certs(".mailcertd"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(s.certs(".mailcertd/journal"), []byte(`{"version":2,"steps":[],"sum":"x"}`))
	s.log = nil
	s.settle(plan.Wish{})
	if !strings.Contains(strings.Join(s.log, "\n"), "journal of an interrupted change was damaged") {
		t.Errorf("the log has\n%s", strings.Join(s.log, "\n"))
	}
}
