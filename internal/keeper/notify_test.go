package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Commands are run once after a change, again until they succeed, and never
// without a change. They see no shell.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	out, ready := filepath.Join(dir, "out file"), filepath.Join(dir, "ready")
	script := filepath.Join(dir, "told")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$#\" >>\"$1\"; test -e \"$2\" || { echo not ready >&2; exit 3; }\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "notify: [["+script+", \""+out+"\", "+ready+"]]")
	runs := func() int { b, _ := os.ReadFile(out); return strings.Count(string(b), "2\n") }
	r := s.settle(plan.Wish{})
	if runs() != 1 || len(r.Plan.State.Notify) != 1 {
		t.Fatalf("%d runs, %+v", runs(), r.Plan.State.Notify)
	}
	r = s.settle(plan.Wish{})
	if runs() != 1 || r.Plan.Worst() != plan.Error || !strings.Contains(reasons(r), "notify-owed") {
		t.Errorf("before its time: %d runs, %s", runs(), reasons(r))
	}
	s.now = s.now.Add(2 * time.Minute)
	if s.settle(plan.Wish{}); runs() != 2 {
		t.Errorf("after the wait: %d runs", runs())
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(10 * time.Minute)
	if r := s.settle(plan.Wish{}); runs() != 3 || len(r.Plan.State.Notify) != 0 {
		t.Errorf("when it succeeds: %d runs, %+v", runs(), r.Plan.State.Notify)
	}
	s.now = s.now.Add(48 * time.Hour)
	if s.settle(plan.Wish{}); runs() != 3 {
		t.Error("run without a change")
	}
	s.settle(plan.Wish{Renew: true, From: plan.LeafID(s.leaf())})
	if runs() != 4 {
		t.Errorf("after a renewal: %d runs", runs())
	}
}

// A command that hangs is ended when its time is up, and owed still.
func TestNotifyHangs(t *testing.T) {
	s := newSite(t, "notify: [[sleep, \"1000\"]]")
	s.o.NotifyFor = 100 * time.Millisecond
	r := s.settle(plan.Wish{})
	for _, d := range r.Plan.State.Notify {
		if d.Attempts == 1 && strings.Contains(d.LastError, "sleep") {
			return
		}
	}
	t.Errorf("%+v", r.Plan.State.Notify)
}

// purge leaves nothing of ours and takes nothing of others.
func TestPurge(t *testing.T) {
	s := newSite(t, "")
	f := makeForeign(t, s.now)
	s.settle(plan.Wish{})
	if err := os.WriteFile(s.certs("host.cert"), f.cert, 0o644); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{}) // archives what somebody put there
	if err := os.WriteFile(s.certs("own.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), agreed); err != nil {
		t.Fatal(err)
	}
	var left []string
	_ = filepath.WalkDir(s.root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(s.root, p)
			left = append(left, filepath.Base(rel))
		}
		return err
	})
	if got := strings.Join(left, " "); got != "own.txt host.cert manifest.json" {
		t.Errorf("left: %s", got)
	}
	if !s.archived(f.cert) {
		t.Error("the copy of somebody's certificate is gone")
	}
}

func agreed([]Purged) error { return nil }

// A certificate that a person or another program puts there is a change like
// our own, told once.
func TestNotifyOfSomebodysChange(t *testing.T) {
	out := filepath.Join(t.TempDir(), "told")
	s := newSite(t, "issuer: none\nnotify: [[sh, -c, 'echo x >>"+out+"']]")
	runs := func() int { b, _ := os.ReadFile(out); return strings.Count(string(b), "x") }
	s.put(makeForeign(t, s.now))
	s.settle(plan.Wish{})
	s.settle(plan.Wish{})
	before := runs()
	s.put(makeForeign(t, s.now))
	for range 3 {
		s.settle(plan.Wish{})
	}
	if n := runs() - before; n != 1 {
		t.Errorf("%d runs after somebody's change, %d before", n, before)
	}
}

// A sendmail is started again only where our own HUP, a moment ago, ended it.
func TestGoneByHUP(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		age, up time.Duration // since the HUP, since the boot
		back    bool
		started int
		want    bool
	}{
		"a moment ago":                {time.Second, time.Hour, false, 0, true},
		"it had come back":            {time.Minute, time.Hour, true, 0, false},
		"long ago":                    {time.Hour, 2 * time.Hour, false, 0, false},
		"before the boot":             {time.Minute, time.Second, false, 0, false},
		"the first start was in vain": {time.Hour, 2 * time.Hour, false, 1, true},
		"started, and back":           {time.Hour, 2 * time.Hour, true, 1, false},
	} {
		d := &state.Debt{HUPs: []state.HUP{{At: now.Add(-c.age), Sent: true, Back: c.back}}, Started: make([]time.Time, c.started)}
		if got := goneByHUP(d, now, now.Add(-c.up)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
