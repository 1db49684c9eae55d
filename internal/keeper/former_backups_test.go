package keeper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// upgraded makes a site whose backups an older version has made: one of a bought certificate, and three of own ones.
// The oldest of these, first, has the first own certificate with its key.
func upgraded(t *testing.T, yaml string) (s *site, first string, key, bought []byte) {
	t.Helper()
	s = newSite(t, yaml)
	f := makeForeign(t, s.now)
	s.put(f)
	s.settle(plan.Wish{})
	s.settle(plan.Wish{Renew: true, Force: true, From: pki.Fingerprint(s.leaf())})
	key = s.content("host.key")
	for range 3 {
		s.later(24 * time.Hour)
		s.settle(s.allPairs(plan.Wish{Rekey: true, Once: true}))
		if first == "" {
			gens, err := s.Backups()
			if err != nil || gens[0].Foreign {
				t.Fatalf("%+v, %v", gens, err)
			}
			first = gens[0].ID
		}
	}
	if err := os.Rename(s.backupsDir(), s.formerDir()); err != nil {
		t.Fatal(err)
	}
	return s, first, key, f.cert
}

func (s *site) formerDir() string { return filepath.Join(s.cfg.State.Dir, state.FormerBackupsDir) }

func (s *site) former() bool { return durable.Look(s.formerDir()).Exists }

func (s *site) backupIDs() (out []string) {
	s.t.Helper()
	gens, err := s.Backups()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range gens {
		if g.Err != nil || g.Damaged {
			s.t.Errorf("%+v", g)
		}
		out = append(out, g.ID)
	}
	return out
}

// The first run after an upgrade moves the backups. If that fails, the reason is told and they are used where they are.
func TestFormerBackups(t *testing.T) {
	t.Parallel()
	moves := func(p plan.Plan) bool {
		return slices.ContainsFunc(p.Actions, func(a plan.Action) bool { return a.Kind == plan.MoveBackups })
	}
	t.Run("ensure", func(t *testing.T) {
		s, _, _, bought := upgraded(t, "")
		before := s.backupIDs()
		if r := s.Check(t.Context(), plan.Wish{}); !moves(r.Plan) || len(before) < 4 {
			t.Fatalf("%v, planned %v", before, r.Plan.Actions)
		}
		r := s.settle(plan.Wish{})
		if why := s.complete(r); why != "" || s.former() || !slices.Equal(before, s.backupIDs()) ||
			!s.savedForGood(bought) {
			t.Errorf("%s, there: %t, backups %v, before %v", why, s.former(), s.backupIDs(), before)
		}
	})
	t.Run("restore", func(t *testing.T) {
		s, first, key, bought := upgraded(t, "")
		before := s.backupIDs()
		if _, err := s.Restore(t.Context(), first, false); err != nil || !bytes.Equal(key, s.content("host.key")) {
			t.Fatal(err)
		}
		if after := s.backupIDs(); s.former() || len(after) != len(before)+1 || !s.savedForGood(bought) {
			t.Errorf("there: %t, backups %v, before %v", s.former(), after, before)
		}
	})
	t.Run("a disk error", func(t *testing.T) {
		s, first, key, bought := upgraded(t, "state: {keep: 1}\n")
		before := s.backupIDs()
		s.o.Disk.Before = func(p durable.Point) error {
			if p.Op == "rename" && p.From == s.formerDir() {
				return syscall.EIO
			}
			return nil
		}
		r := s.settle(plan.Wish{})
		var text strings.Builder
		for _, pr := range r.Plan.Problems {
			if pr.Reason == plan.StepFailed {
				text.WriteString(pr.Path + ": " + pr.Text)
			}
		}
		if !strings.Contains(text.String(), "could not move the backups") ||
			!strings.Contains(text.String(), syscall.EIO.Error()) ||
			!s.savedForGood(bought) || !slices.Contains(s.backupIDs(), before[0]) {
			t.Errorf("%s; %v, before %v", text.String(), s.backupIDs(), before)
		}
		if slices.Contains(s.backupIDs(), first) {
			t.Errorf("state.keep is 1, and the oldest backup is still there: %v", s.backupIDs())
		}
		if bytes.Equal(key, s.content("host.key")) {
			t.Error("the test has no other key")
		}
		if _, err := s.Restore(t.Context(), before[0], false); err != nil {
			t.Error(err)
		}
		s.o.Disk.Before = nil
		if s.settle(plan.Wish{}); s.former() || !s.savedForGood(bought) || len(s.backupIDs()) != 2 {
			t.Errorf("there: %t, backups %v, before %v", s.former(), s.backupIDs(), before)
		}
	})
	t.Run("a state directory that cannot be written", func(t *testing.T) {
		s, first, key, _ := upgraded(t, "")
		before := s.backupIDs()
		s.o.Disk.Before = func(p durable.Point) error {
			if strings.HasPrefix(p.Path, s.cfg.State.Dir) {
				return syscall.EROFS
			}
			return nil
		}
		_, err := s.Restore(t.Context(), first, false)
		if err != nil || !bytes.Equal(key, s.content("host.key")) || !slices.Equal(before, s.backupIDs()) {
			t.Errorf("%v; backups %v, before %v", err, s.backupIDs(), before)
		}
	})
	t.Run("purge", func(t *testing.T) {
		s, _, _, bought := upgraded(t, "")
		var kept []string
		err := s.Purge(t.Context(), func(list []Purged) error {
			for _, p := range list {
				if p.Kept != "" {
					kept = append(kept, p.Path)
				}
			}
			return nil
		})
		gens, lerr := s.Backups()
		if err = errors.Join(err, lerr); err != nil || len(gens) != 1 || !gens[0].Foreign || !s.savedForGood(bought) ||
			!slices.Contains(kept, filepath.Join(s.formerDir(), gens[0].ID)) {
			t.Errorf("%v; %+v, kept %v", err, gens, kept)
		}
	})
}
