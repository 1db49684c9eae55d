package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A change also ends if a directory is in the place of a file, or if a staged file is not the one that was staged.
func TestCommittedButBlocked(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string // the state of the directory as a whole
	}{
		{"a directory is in the place of a file", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "host.cert")); err != nil {
				return err
			}
			return os.Mkdir(filepath.Join(dir, "host.cert"), 0o755)
		}, "mixed"},
		{"a staged file is damaged", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, stagingName, "host.cert"), []byte("torn"), 0o644)
		}, "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(t, dir)
			stop := errors.New("stop")
			begun := false
			err := change(&Disk{Before: func(p Point) error {
				if filepath.Base(p.Path) == journalName && p.Op == "rename" {
					begun = true
				} else if begun {
					return stop
				}
				return nil
			}}, dir)
			if !errors.Is(err, ErrCommitted) || !errors.Is(err, stop) {
				t.Fatal(err)
			}
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
				t.Fatal(err)
			}
			if got := stateOf(dir); c.want == "old" && got != "old" {
				t.Errorf("the directory is %s", got)
			}
			if n := Look(filepath.Join(dir, stagingName, journalName)); n.Kind != Missing {
				t.Error("the journal stayed")
			}
		})
	}
}

// A journal that cannot be read, or that a newer version wrote, may mean a committed change. Nothing is deleted, no
// change is begun, and the error says why.
func TestJournalUnknown(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, journal string)
		says  string
	}{
		{"newer", func(t *testing.T, journal string) {
			if err := os.WriteFile(journal, []byte(`{"version": 3, "moves": []}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "newer mailcertd"},
		{"EIO", func(t *testing.T, journal string) { failRead(t, "read", journal, syscall.EIO) }, "input/output error"},
		{"EMFILE", func(t *testing.T, journal string) { failRead(t, "open", journal, syscall.EMFILE) },
			"too many open files"},
		{"EACCES", func(t *testing.T, journal string) { failRead(t, "lstat", journal, syscall.EACCES) },
			"permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(t, dir)
			if !dies(func() {
				_ = change(&Disk{Before: func(p Point) error {
					if p.Op == "rename" && filepath.Base(p.Path) == "host.key" && filepath.Dir(p.Path) == dir {
						panic(death{})
					}
					return nil
				}}, dir)
			}) {
				t.Fatal("the change did not reach the first rename")
			}
			journal := filepath.Join(dir, stagingName, journalName)
			c.spoil(t, journal)
			before := snapshot(t, filepath.Join(dir, stagingName))
			s := OpenSet(&Disk{}, dir)
			p, err := s.Pending()
			if err == nil {
				err = p.Err
			}
			if err == nil || p.Journal || p.Damaged {
				t.Fatalf("%+v, %v", p, err)
			}
			if _, err := s.Recover(); err == nil {
				t.Error("the change was recovered")
			}
			if err := change(&Disk{}, dir); err == nil {
				t.Error("another change was begun over it")
			} else if c.name == "newer" && errors.Is(err, ErrCommitted) {
				t.Error(err)
			}
			beforeRead.Store(nil)
			after := snapshot(t, filepath.Join(dir, stagingName))
			for name := range before {
				if _, there := after[name]; !there {
					t.Errorf("%s is gone", name)
				}
			}
		})
	}
}

// failRead makes one kind of read of a path fail until the test ends.
func failRead(t *testing.T, op, path string, errno syscall.Errno) {
	t.Cleanup(TestOnlyBeforeRead(func(o, p string) error {
		if o == op && p == path {
			return errno
		}
		return nil
	}))
}

// A directory of backups that cannot be read is not called empty or damaged, and nothing of it is removed.
func TestBackupsUnread(t *testing.T) {
	dir := t.TempDir()
	ar := OpenBackups(&Disk{}, filepath.Join(dir, "backups"), "")
	id, err := ar.Add(time.Unix(0, 0), "test", []Item{{Name: "host.key", Data: []byte("x"), Secret: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"lstat", "open", "read", "opendir", "readdir"} {
		undo := TestOnlyBeforeRead(func(o, p string) error {
			if o == op {
				return syscall.EIO
			}
			return nil
		})
		gens, err := ar.List()
		if err == nil && (len(gens) != 1 || gens[0].Damaged || gens[0].Err == nil) {
			t.Errorf("%s: the backups are %+v", op, gens)
		}
		rerr, derr := ar.Remove(id), ar.DropItem(id, "host.key")
		undo()
		if op != "opendir" && op != "readdir" && (rerr == nil || derr == nil) {
			t.Errorf("%s: remove %v, drop %v", op, rerr, derr)
		}
		if _, err := os.Stat(filepath.Join(dir, "backups", id, "host.key")); err != nil && op != "opendir" &&
			op != "readdir" {
			t.Errorf("%s: %v", op, err)
		}
		if op == "opendir" || op == "readdir" {
			if id, err = ar.Add(time.Unix(0, 0), "test",
				[]Item{{Name: "host.key", Data: []byte("x"), Secret: true}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An error that a test injects names the file, as the system's own errors do.
func TestFaultNamesTheFile(t *testing.T) {
	d := &Disk{Before: func(Point) error { return syscall.EROFS }}
	path := filepath.Join(t.TempDir(), "x")
	if err := d.Mkdir(path, 0o700); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
