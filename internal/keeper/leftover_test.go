package keeper

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// left lists the files below the site's directories whose names only an interrupted write leaves.
func (s *site) left() string {
	var out []string
	_ = filepath.WalkDir(s.root, func(p string, d os.DirEntry, err error) error {
		_, temporary := durable.TempOf(filepath.Base(p))
		if err == nil && (temporary || strings.Contains(p, ".bad-")) {
			out = append(out, strings.TrimPrefix(p, s.root))
		}
		return nil
	})
	return strings.Join(out, " ")
}

// A temporary file of an interrupted write is ours, was never in use, and is removed. A file that may be a person's
// only copy is reported and stays until a person removes it.
func TestLeftovers(t *testing.T) {
	for name, c := range map[string]struct {
		path   func(s *site) string // the path of a file that is made
		data   string
		age    time.Duration // how far the clock is moved ahead
		goes   bool
		reason plan.Reason // the reason with which it is reported; "" means that nothing is reported at the end
	}{
		"half a state file": {path: func(s *site) string { return s.cfg.State.Dir + "/.state.json.mailcertd" },
			data: "{", goes: true},
		"half an answer, young": {path: func(s *site) string { return s.candidates.path(".reply.pem.mailcertd") },
			data: "x"},
		"half an answer": {path: func(s *site) string { return s.candidates.path(".reply.pem.mailcertd") }, data: "x",
			age: 2 * time.Minute, goes: true},
		"half of the CAs": {path: func(s *site) string { return s.candidates.path(".ca.pem.mailcertd") }, data: "x",
			age: 2 * time.Minute, goes: true},
		"somebody's": {path: func(s *site) string { return s.cfg.State.Dir + "/.note.mailcertd" }, data: "x",
			age: time.Hour},
		"half of a manifest": {path: func(s *site) string {
			gens, _ := s.Backups()
			return filepath.Join(s.backupsDir(), gens[0].ID, ".manifest.json.mailcertd")
		}, data: "{", goes: true},
		"a backup that never got its name": {path: func(s *site) string {
			return s.backupsDir() + "/.20260101T000000Z-01.mailcertd/host.key"
		},
			data: "half a ke", goes: true},
		"a serial": {path: func(s *site) string { return s.cfg.CA.Dir + "/newcerts/.0A.pem.mailcertd" }, data: "x",
			age: 2 * time.Minute, goes: true},
		"a bad state file": {path: func(s *site) string {
			return s.cfg.State.Dir + "/state.json.bad-20260101T000000Z"
		}, data: "{",
			reason: plan.KeptAside},
		"a bad state file, a month on": {path: func(s *site) string {
			return s.cfg.State.Dir + "/state.json.bad-20260101T000000Z-1"
		}, data: "{",
			age: 31 * 24 * time.Hour, goes: true},
		"the former index.txt of a repaired database": {path: func(s *site) string {
			return s.cfg.CA.Dir + "/index.txt.bad-17"
		}, data: "V\t",
			age:    99 * 24 * time.Hour,
			reason: plan.KeptAside},
		"a copy without a manifest": {path: func(s *site) string {
			return s.backupsDir() + "/20260101T000000Z-01/host.key"
		}, data: "somebody's",
			age: 99 * 24 * time.Hour, reason: plan.BackupDamaged},
		"an empty copy": {path: func(s *site) string {
			return s.backupsDir() + "/20260101T000000Z-01/host.key"
		}, goes: true},
		"a manifest that was damaged": {path: func(s *site) string {
			return s.backupsDir() + "/20260101T000000Z-01/manifest.json"
		}, data: "{",
			reason: plan.BackupDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.now = time.Now()
			s.settle(plan.Wish{})
			s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())}) // this makes a backup
			path := c.path(s)
			for _, d := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
				if err := os.MkdirAll(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
				t.Fatal(err)
			}
			if s.now = s.now.Add(c.age); c.age > 48*time.Hour {
				s.believed()
			}
			// Somebody who looks without the lock cannot know whether a young file is being written.
			if p := s.Check(context.Background(), plan.Wish{}).Plan; c.age == 0 && reported(p, plan.LeftOver) {
				t.Errorf("check takes a file that may be being written for a remnant: %s", reasonsAndActions(p))
			}
			s.now = s.now.Add(2 * time.Minute)
			p := s.Check(context.Background(), plan.Wish{}).Plan
			s.now = s.now.Add(-2 * time.Minute)
			if (c.goes || c.reason != "") &&
				!strings.Contains(reasonsAndActions(p), filepath.Base(path)) &&
				!strings.Contains(reasonsAndActions(p), filepath.Base(filepath.Dir(path))) {
				t.Errorf("check does not name it: %s", reasonsAndActions(p))
			}
			r := s.settle(plan.Wish{})
			if _, err := os.Lstat(path); os.IsNotExist(err) != c.goes {
				t.Errorf("it exists: %v; left over: %s\n%s", err, s.left(), strings.Join(s.log, "\n"))
			}
			if c.reason != "" && !reported(r.Plan, c.reason) {
				t.Errorf("not reported: %+v", r.Plan.Problems)
			}
			if !r.Plan.Empty() || r.Plan.Worst() == plan.Error {
				t.Errorf("%+v, %+v", r.Plan.Actions, r.Plan.Problems)
			}
			before := snapshot(t, s.root)
			if r := s.settle(plan.Wish{}); r.Changed || snapshot(t, s.root) != before {
				t.Error("a second ensure changed something")
			}
		})
	}
}

func reasonsAndActions(p plan.Plan) string {
	var out []string
	for _, pr := range p.Problems {
		out = append(out, string(pr.Reason)+" "+pr.Path)
	}
	for _, a := range p.Actions {
		out = append(out, string(a.Reason)+" "+a.Path)
	}
	return strings.Join(out, ", ")
}

// A backup of only our own key without a manifest is removed, because its bytes are known to be ours. With one file of
// a person in it, all of it stays and is reported.
func TestCopyOfOurKeyWithoutManifest(t *testing.T) {
	for name, stranger := range map[string]bool{"alone": false, "with a note of somebody's": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.settle(plan.Wish{})
			old := s.read(s.certs("host.key"))
			s.settle(plan.Wish{Renew: true, Rekey: true, From: pki.Fingerprint(s.leaf()),
				FromKey: pki.KeyFingerprint(s.leaf().PublicKey)})
			gens, _ := s.Backups()
			dir := filepath.Join(s.backupsDir(), gens[0].ID)
			if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
				t.Fatal(err)
			}
			if got := s.read(filepath.Join(dir, "host.key")); string(got) != string(old) {
				t.Fatal("there is no backup of the old key")
			}
			if stranger {
				s.write(filepath.Join(dir, "note"), []byte("mine"))
			}
			r := s.settle(plan.Wish{})
			if _, err := os.Stat(dir); os.IsNotExist(err) == stranger {
				t.Errorf("the backup: %v\n%+v", err, r.Plan.Problems)
			}
			if reported(r.Plan, plan.BackupDamaged) != stranger {
				t.Errorf("%+v", r.Plan.Problems)
			}
		})
	}
}

// A replaced key is removed in time although the state file is lost: the backup says that it is a replaced key.
func TestOldKeyWithoutState(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	s.settle(plan.Wish{Renew: true, Rekey: true, From: pki.Fingerprint(s.leaf()),
		FromKey: pki.KeyFingerprint(s.leaf().PublicKey)})
	if err := os.Remove(filepath.Join(s.cfg.State.Dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	keys := func() int { all, _ := filepath.Glob(s.backupsDir() + "/*/host.key"); return len(all) }
	s.settle(plan.Wish{})
	if keys() != 1 {
		t.Fatalf("%d copies", keys())
	}
	s.later(6 * 24 * time.Hour)
	if s.settle(plan.Wish{}); keys() != 1 {
		t.Error("deleted before its week was over")
	}
	s.later(25 * time.Hour)
	if s.settle(plan.Wish{}); keys() != 0 {
		t.Error("it is still there")
	}
}

// mailcertd is killed at any point of a renewal with a new key. After the next ensure nothing is left of the renewal,
// and the only copies of keys are those in the manifests of backups.
func TestNothingLeftOfAKilledRenewal(t *testing.T) {
	for n := int64(1); ; n++ {
		s := newSite(t, "")
		s.now = time.Now()
		s.settle(plan.Wish{})
		w := plan.Wish{Renew: true, Rekey: true, From: pki.Fingerprint(s.leaf()),
			FromKey: pki.KeyFingerprint(s.leaf().PublicKey), Once: true}
		first := s.o.Disk.Points()
		s.o.Disk.Before = func(p durable.Point) error {
			if p.N == first+n {
				panic("killed")
			}
			return nil
		}
		died := func() (died bool) {
			defer func() { died = recover() != nil }()
			_, _ = s.Settle(context.Background(), w)
			return
		}()
		if !died {
			if n < 20 {
				t.Fatalf("the renewal has only %d points", n)
			}
			return
		}
		again := New(s.o)
		again.o.Disk = &durable.Disk{}
		s.Keeper = again
		s.now = s.now.Add(2 * time.Minute)
		s.settle(plan.Wish{})
		if left := s.left(); left != "" {
			t.Errorf("point %d: %s", n, left)
		}
		gens, _ := s.Backups()
		for _, g := range gens {
			if g.Damaged || g.Err != nil {
				t.Errorf("point %d: %+v", n, g)
			}
		}
	}
}
