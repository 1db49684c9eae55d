package durable

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The process is killed at any point of Add. The directory then contains the complete backup, or one that is known to
// be unfinished and can be removed. No copy of the key is left that is in no manifest. A directory in the backup was
// made by a person, and stays.
func TestBackupsCutShort(t *testing.T) {
	items := []Item{{Name: "host.key", Data: []byte("secret key"), Secret: true},
		{Name: "trust/x.pem", Data: []byte("x")}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, stranger := range []bool{false, true} {
		for n := int64(1); ; n++ {
			dir := filepath.Join(t.TempDir(), "backups")
			if !dies(func() { _, _ = OpenBackups(dyingAt(n), dir, "").Add(now, "test", items) }) {
				if n < 8 {
					t.Fatalf("there are only %d points", n)
				}
				break
			}
			a := OpenBackups(&Disk{}, dir, "")
			cut, err := a.Unfinished()
			if err != nil {
				t.Fatal(err)
			}
			gens, err := a.List()
			if err != nil || len(gens)+len(cut) > 1 || len(gens) == 1 && gens[0].Damaged {
				t.Errorf("point %d: %+v, %v, %v", n, gens, cut, err)
			}
			for _, id := range cut {
				if stranger {
					if err := os.Mkdir(filepath.Join(a.UnfinishedPath(id), "notes"), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := a.RemoveUnfinished(id); (err != nil) != stranger {
					t.Errorf("point %d: %v", n, err)
				}
			}
			copies := 0
			files, _ := filepath.Glob(dir + "/*/host.key")
			hidden, _ := filepath.Glob(dir + "/.*/host.key")
			for _, f := range append(files, hidden...) {
				if b, _ := os.ReadFile(f); bytes.HasPrefix(items[0].Data, b) {
					copies++
				}
			}
			if copies != len(gens) {
				t.Errorf("point %d: %d copies of the key, %d backups", n, copies, len(gens))
			}
		}
	}
}

// An Add that failed leaves nothing behind, whichever operation failed.
func TestBackupsFails(t *testing.T) {
	for n := int64(1); ; n++ {
		dir := filepath.Join(t.TempDir(), "backups")
		failed := false
		d := &Disk{Before: func(p Point) error {
			if p.N == n {
				failed = true
				return os.ErrPermission
			}
			return nil
		}}
		_, err := OpenBackups(d, dir, "").Add(backupNow, "test", ownItems)
		if !failed {
			return
		}
		a := OpenBackups(&Disk{}, dir, "")
		cut, lerr := a.Unfinished()
		gens, _ := a.List()
		if lerr != nil || len(cut) > 0 || len(gens) > 1 || len(gens) == 1 && gens[0].Damaged || err == nil {
			t.Errorf("point %d: %v: %v, %+v, %v", n, err, cut, gens, lerr)
		}
	}
}

// The directory of a backup that lost its manifest is removed only if it still contains what was seen in it.
func TestBackupsDamagedGoes(t *testing.T) {
	a, dir, id := savedOnce(t, ownItems)
	seen, err := a.Content(id)
	if err != nil {
		t.Fatal(err)
	}
	if a.RemoveDamaged(id, seen) == nil {
		t.Fatal("one with a manifest was removed")
	}
	if err := os.Remove(filepath.Join(dir, id, ManifestName)); err != nil {
		t.Fatal(err)
	}
	if seen, err = a.Content(id); err != nil || len(seen) != 2 {
		t.Fatalf("%+v, %v", seen, err)
	}
	if err := os.WriteFile(filepath.Join(dir, id, "note"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a.RemoveDamaged(id, seen) == nil || Look(filepath.Join(dir, id, "host.key")).Kind == Missing {
		t.Error("it was removed although somebody has put a file into it")
	}
	if err := os.Remove(filepath.Join(dir, id, "note")); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveDamaged(id, seen); err != nil || Look(filepath.Join(dir, id)).Kind != Missing {
		t.Errorf("it was not removed: %v", err)
	}
}
