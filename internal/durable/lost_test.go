package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// One sync makes the journal and the staged files durable. A loss of power before it may leave the journal and take any
// of the staged entries. Then nothing is changed, even where the files did not exist before.
func TestStagedEntriesLost(t *testing.T) {
	names := []string{"trust%ca.pem", "host.key", "host.cert", "0.0"}
	for _, c := range []struct {
		name  string
		files bool // the set exists already
		old   string
	}{{"a set is replaced", true, "old"}, {"the first set", false, ",,,,"}} {
		t.Run(c.name, func(t *testing.T) {
			for lost := range 1 << len(names) {
				dir := t.TempDir()
				if c.files {
					prepare(t, dir)
				}
				if !dies(func() {
					_ = change(&Disk{Before: func(p Point) error {
						if p.Op == "rename" && filepath.Base(filepath.Dir(p.Path)) != stagingName {
							panic(death{})
						}
						return nil
					}}, dir)
				}) {
					t.Fatal("the change did not reach the first rename")
				}
				for i, name := range names {
					if lost&(1<<i) != 0 {
						if err := os.Remove(filepath.Join(dir, stagingName, name)); err != nil {
							t.Fatal(err)
						}
					}
				}
				want := c.old
				if lost == 0 {
					want = "new"
				}
				r, err := OpenSet(&Disk{}, dir).Recover()
				if got := stateOf(dir); err != nil || got != want || r.Abandoned != (lost > 0) {
					t.Errorf("lost %04b: %q, want %q; %+v, %v", lost, got, want, r, err)
				}
				if n := Look(filepath.Join(dir, stagingName)); n.Kind != Missing {
					t.Errorf("lost %04b: the staging area is left", lost)
				}
			}
		})
	}
}

// A journal that a loss of power brings back, because its removal was not durable, finds every step done.
func TestJournalComesBack(t *testing.T) {
	dir := t.TempDir()
	prepare(t, dir)
	var journal []byte
	path := filepath.Join(dir, stagingName, journalName)
	err := change(&Disk{Before: func(p Point) (err error) {
		if p.Op == "remove" && p.Path == path {
			journal, err = os.ReadFile(path)
		}
		return err
	}}, dir)
	if err = errors.Join(err, os.Mkdir(filepath.Join(dir, stagingName), 0o700),
		os.WriteFile(path, journal, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host.cert"), []byte("a person's"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dir)
	if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
		t.Fatal(err)
	}
	for name, was := range before {
		if now := snapshot(t, dir)[name]; now != was {
			t.Errorf("%s: %s, want %s", name, now, was)
		}
	}
	if n := Look(filepath.Join(dir, stagingName)); n.Kind != Missing {
		t.Error("the staging area is left")
	}
}

// Directories that are made together cost one sync for each directory in which one was made. The next SyncDir does
// these syncs.
func TestMakeDirs(t *testing.T) {
	dir := t.TempDir()
	var synced []string
	d := &Disk{Before: func(p Point) error {
		if p.Op == "syncdir" {
			rel, _ := filepath.Rel(dir, p.Path)
			synced = append(synced, rel)
		}
		return nil
	}}
	for _, name := range []string{"etc/mail/certs", "etc/mail/other", "var/db"} {
		if err := d.MakeDirs(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if len(synced) > 0 {
		t.Errorf("synced: %v", synced)
	}
	if err := errors.Join(d.SyncNewDir(filepath.Join(dir, "var/db")), os.Remove(filepath.Join(dir, "var/db")),
		os.Remove(filepath.Join(dir, "var"))); err != nil {
		t.Fatal(err)
	}
	synced = nil
	if err := d.SyncDir(filepath.Join(dir, "etc/mail")); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"etc/mail": true, "etc": true, ".": true}
	for _, s := range synced {
		delete(want, s)
	}
	if len(want) > 0 || synced[0] != "etc/mail" {
		t.Errorf("synced: %v, not %v", synced, want)
	}
	synced = nil
	if err := d.SyncDir(dir); err != nil || len(synced) != 1 {
		t.Errorf("synced again: %v, %v", synced, err)
	}
	if m := Look(filepath.Join(dir, "etc/mail/certs")).Mode; m != 0o700 {
		t.Errorf("mode %o", m)
	}
	if m := Look(filepath.Join(dir, "etc/mail")).Mode; m != 0o755 {
		t.Errorf("mode %o of the directory above", m)
	}
}
