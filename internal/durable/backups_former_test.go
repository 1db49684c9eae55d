package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// formerly makes directories as an older version leaves them, and returns their common directory, the IDs that List
// must return before a Move, and how many files with which content there are. rows lists "DIR/NAME"; a NAME without a
// dot in front is a backup with a key of its own.
func formerly(t *testing.T, rows ...string) (dir string, ids []string, held map[string]int) {
	t.Helper()
	dir = t.TempDir()
	for _, row := range rows {
		key := "the key of " + row
		if strings.Contains(row, "notes") {
			layFile(t, filepath.Join(dir, row), key)
			continue
		}
		layFile(t, filepath.Join(dir, row, "host.key"), key)
		if id := filepath.Base(row); !strings.HasPrefix(id, ".") {
			data, err := manifestOf(Backup{Version: 1, Reason: row, Foreign: true,
				Files: []Saved{{Name: "host.key", Size: len(key), SHA256: hexSum([]byte(key))}}})
			if err != nil {
				t.Fatal(err)
			}
			layFile(t, filepath.Join(dir, row, ManifestName), string(data))
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return dir, slices.Compact(ids), contents(t, dir)
}

func layFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// contents counts the files below dir by their content.
func contents(t *testing.T, dir string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, file := range snapshot(t, dir) {
		out[file]++
	}
	return out
}

// formerIn opens the backups in dir/backups and, as the former directory, those in dir/archive.
func formerIn(d *Disk, dir string) *Backups {
	return OpenBackups(d, filepath.Join(dir, "backups"), filepath.Join(dir, "archive"))
}

func idsOf(gens []Backup) (out []string) {
	for _, g := range gens {
		out = append(out, g.ID)
	}
	return out
}

var formerRows = map[string][]string{
	"only the former directory": {"archive/20260101T000000Z-01", "archive/20260102T000000Z-01", "archive/notes"},
	"both": {"archive/20260101T000000Z-01", "archive/20260102T000000Z-01",
		"backups/20260103T000000Z-01"},
	"both, and a name twice": {"archive/20260101T000000Z-01", "backups/20260101T000000Z-01", "archive/notes",
		"backups/notes"},
	"an unfinished one": {"archive/.20260101T000000Z-01.mailcertd", "archive/20260102T000000Z-01",
		"backups/.20260101T000000Z-01.mailcertd"},
}

// Backups of an older version are listed and loaded from where they are. Move is stopped by a crash or an error before
// any of its operations: everything still is in one of the two directories, and the next Move completes the work.
func TestFormerBackupsMove(t *testing.T) {
	for name, rows := range formerRows {
		for _, crash := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, crash %t", name, crash), func(t *testing.T) {
				for n := int64(1); ; n++ {
					dir, ids, held := formerly(t, rows...)
					lists := func(when string) {
						t.Helper()
						a := formerIn(&Disk{}, dir)
						gens, err := a.List()
						for _, g := range gens {
							if _, items, err := a.Load(g.ID); err != nil || len(items) != 1 {
								t.Errorf("point %d, %s: %s: %d items, %v", n, when, g.ID, len(items), err)
							}
						}
						for _, id := range ids {
							if err != nil || !slices.Contains(idsOf(gens), id) {
								t.Errorf("point %d, %s: %s is not listed: %v, %v", n, when, id, idsOf(gens), err)
							}
						}
						if got := contents(t, dir); fmt.Sprint(got) != fmt.Sprint(held) {
							t.Errorf("point %d, %s: the files are\n%v, before that\n%v", n, when, got, held)
						}
					}
					lists("before")
					stopped := false
					d := &Disk{Before: func(p Point) error {
						if p.N != n {
							return nil
						}
						if stopped = true; crash {
							panic(death{})
						}
						return syscall.EIO
					}}
					dies(func() {
						if err := formerIn(d, dir).Move(); errors.Is(err, syscall.EIO) != stopped {
							t.Errorf("point %d: %v", n, err)
						}
					})
					lists("stopped")
					l := &ledger{t: t, dirty: map[string]bool{}}
					if err := formerIn(&Disk{Before: l.before}, dir).Move(); err != nil {
						t.Fatalf("point %d: %v", n, err)
					}
					lists("moved")
					_ = l.before(Point{})
					delete(l.dirty, filepath.Join(dir, "archive")) // it was synced, then removed
					if formerIn(&Disk{}, dir).Former() || len(l.dirty) > 0 {
						t.Fatalf("point %d: the former directory is there: %t, not synced: %v", n,
							formerIn(&Disk{}, dir).Former(), l.dirty)
					}
					if !stopped {
						return
					}
				}
			})
		}
	}
}

// Every change of a backup works where an older version has made it, and a new backup moves the others first.
func TestFormerBackupsInPlace(t *testing.T) {
	own := func(t *testing.T) (a *Backups, dir, id string) {
		dir = t.TempDir()
		id, err := OpenBackups(&Disk{}, filepath.Join(dir, "archive"), "").Add(backupNow, "test", ownItems)
		if err != nil {
			t.Fatal(err)
		}
		return formerIn(&Disk{}, dir), dir, id
	}
	a, dir, id := own(t)
	if err := a.DropItem(id, "host.key"); err != nil || Look(filepath.Join(dir, "archive", id, "host.key")).Exists {
		t.Errorf("the key is not deleted: %v", err)
	}
	if err := a.Remove(id); err != nil || Look(filepath.Join(dir, "archive", id)).Exists {
		t.Errorf("the backup is not removed: %v", err)
	}
	a, _, id = own(t)
	again, err := a.Add(backupNow, "test", ownItems)
	if err != nil || again != id || a.Former() {
		t.Errorf("the same content was saved twice: %s and %s, %v", id, again, err)
	}
	a, dir, id = own(t)
	a.disk.Before = func(p Point) error { // another file system is mounted there
		if p.Op == "rename" && p.From == filepath.Join(dir, "archive") {
			return syscall.EBUSY
		}
		return nil
	}
	other, err := a.Add(backupNow, "test", ownItems[:1])
	gens, lerr := a.List()
	if err != nil || lerr != nil || other == id || len(gens) != 2 || !a.Former() {
		t.Errorf("%s and %s, %v; %v, %v", id, other, err, idsOf(gens), lerr)
	}
	for name, stay := range map[string]string{"archive": other, "backups": id} { // one cannot be listed, the other is
		undo := TestOnlyBeforeRead(func(op, path string) error {
			if op == "opendir" && filepath.Base(path) == name {
				return syscall.EIO
			}
			return nil
		})
		gens, err := a.List()
		undo()
		if !errors.Is(err, syscall.EIO) || len(gens) != 1 || gens[0].ID != stay {
			t.Errorf("%s cannot be read: %v, %v", name, idsOf(gens), err)
		}
	}
}
