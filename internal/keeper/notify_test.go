package keeper

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/pickup"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Commands run once after a change, again until they succeed, and never without a change. They are not run by a shell.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	out, ready := filepath.Join(dir, "out file"), filepath.Join(dir, "ready")
	script := filepath.Join(dir, "told")
	if err := os.WriteFile(script,
		[]byte("#!/bin/sh\necho \"$#\" >>\"$1\"; test -e \"$2\" || { echo not ready >&2; exit 3; }\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "notify: [["+script+", \""+out+"\", "+ready+"]]")
	runs := func() int { b, _ := os.ReadFile(out); return strings.Count(string(b), "2\n") }
	r := s.settle(plan.Wish{})
	if runs() != 1 || len(r.Plan.State.Notify) != 1 {
		t.Fatalf("%d runs, %+v", runs(), r.Plan.State.Notify)
	}
	r, err := s.Settle(context.Background(), plan.Wish{}) // this is the daemon
	begun := false
	for _, d := range r.Plan.State.Notify {
		begun = begun || !d.Running.IsZero()
	}
	if err != nil || begun || runs() != 1 || r.Plan.Worst() != plan.Error ||
		!strings.Contains(reasons(r), "notify-pending") {
		t.Errorf("the daemon runs it before the backoff has passed: %v, %d runs, %s", err, runs(), reasons(r))
	}
	if s.settle(plan.Wish{}); runs() != 2 {
		t.Errorf("for a person it runs without a backoff: %d runs", runs())
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
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
	if runs() != 4 {
		t.Errorf("after a renewal: %d runs", runs())
	}
}

// A command that hangs is stopped at its time limit, and its run stays pending.
func TestNotifyHangs(t *testing.T) {
	s := newSite(t, "notify: [[sleep, \"1000\"]]")
	s.o.NotifyFor = 100 * time.Millisecond
	s.notifier = pickup.NewNotifier(s.pickupOptions(), s.cfg.Notify)
	r := s.settle(plan.Wish{})
	for _, d := range r.Plan.State.Notify {
		if d.Attempts == 1 && strings.Contains(d.LastError, "sleep") {
			return
		}
	}
	t.Errorf("%+v", r.Plan.State.Notify)
}

// purge removes everything that mailcertd made and nothing else.
func TestPurge(t *testing.T) {
	s := newSite(t, "")
	f := makeForeign(t, s.now)
	s.settle(plan.Wish{})
	if err := os.WriteFile(s.certs("host.cert"), f.cert, 0o644); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{}) // this backs up a person's file
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
	if !s.savedForGood(f.cert) {
		t.Error("the copy of somebody's certificate is gone")
	}
}

func agreed([]Purged) error { return nil }

// A certificate that a person or another program installed is a change too, and is notified once.
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
