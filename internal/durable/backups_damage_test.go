package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	backupNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	ownItems  = []Item{{Name: "host.key", Data: []byte("secret"), Mode: 0o600, Secret: true},
		{Name: "trust/ca.pem", Data: []byte("ca"), Mode: 0o644}, {Name: "0.0", LinkTo: "cacert.pem"}}
)

// savedOnce makes a directory with one backup.
func savedOnce(t *testing.T, items []Item) (a *Backups, dir, id string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "db", "backups")
	a = OpenBackups(&Disk{}, dir, "")
	id, err := a.Add(backupNow, "test", items)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir, id
}

// Load returns what Add was given, with names, modes and links.
func TestBackupsGivesBack(t *testing.T) {
	a, dir, id := savedOnce(t, ownItems)
	g, items, err := a.Load(id)
	if err != nil || g.ID != id || !g.When.Equal(backupNow) || g.Reason != "test" || g.Foreign || g.Damaged {
		t.Fatalf("%+v, %v", g, err)
	}
	if diff := cmp.Diff(ownItems, items); diff != "" {
		t.Error(diff)
	}
	// The link is in the manifest and has no file.
	if files, err := filepath.Glob(filepath.Join(dir, id, "*")); err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
	for name := range snapshot(t, dir) {
		if n := Look(filepath.Join(dir, name)); n.Mode != 0o600 {
			t.Errorf("%s: mode %v", name, n.Mode)
		}
	}
}

// Content counts as backed up only as long as its copy is complete, because the original is about to be overwritten.
func TestBackupsSameContent(t *testing.T) {
	change := func(i int, f func(*Item)) []Item {
		items := append([]Item{}, ownItems...)
		f(&items[i])
		return items
	}
	for name, c := range map[string]struct {
		items []Item
		spoil func(a *Backups, dir string) error
		same  bool
	}{
		"the same":        {items: ownItems, same: true},
		"another mode":    {items: change(0, func(i *Item) { i.Mode = 0o640 })},
		"another content": {items: change(1, func(i *Item) { i.Data = []byte("ac") })},
		"another link":    {items: change(2, func(i *Item) { i.LinkTo = "x" })},
		"foreign now":     {items: change(0, func(i *Item) { i.Foreign = true })},
		"fewer":           {items: ownItems[:2]},
		"the copy is gone": {items: ownItems, spoil: func(_ *Backups, dir string) error {
			return os.Remove(filepath.Join(dir, "host.key"))
		}},
		"the copy is incomplete": {items: ownItems, spoil: func(_ *Backups, dir string) error {
			return os.Truncate(filepath.Join(dir, "host.key"), 2)
		}},
		"the key was deleted": {items: ownItems, spoil: func(a *Backups, dir string) error {
			return a.DropItem(filepath.Base(dir), "host.key")
		}},
		"no manifest": {items: ownItems, spoil: func(_ *Backups, dir string) error {
			return os.Remove(filepath.Join(dir, ManifestName))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, dir, id := savedOnce(t, ownItems)
			if c.spoil != nil {
				if err := c.spoil(a, filepath.Join(dir, id)); err != nil {
					t.Fatal(err)
				}
			}
			again, err := a.Add(backupNow, "again", c.items)
			if err != nil || (again == id) != c.same {
				t.Fatalf("%s after %s, %v", again, id, err)
			}
			if _, items, err := a.Load(again); err != nil || len(items) != len(c.items) {
				t.Errorf("%v, %v", items, err)
			}
		})
	}
}

// A directory whose manifest cannot be read may contain anybody's files. It is listed and stays.
func TestBackupsManifest(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":       os.Remove,
		"empty":      func(p string) error { return os.Truncate(p, 0) },
		"half":       func(p string) error { return os.Truncate(p, 40) },
		"newer":      func(p string) error { return os.WriteFile(p, []byte(`{"version":2}`), 0o600) },
		"an array":   func(p string) error { return os.WriteFile(p, []byte(`[]`), 0o600) },
		"huge":       func(p string) error { return os.Truncate(p, 2<<20) },
		"directory":  func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"dead link":  func(p string) error { return errors.Join(os.Remove(p), os.Symlink("nowhere", p)) },
		"other JSON": func(p string) error { return os.WriteFile(p, []byte(`"x"`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			a, dir, id := savedOnce(t, ownItems)
			if err := spoil(filepath.Join(dir, id, ManifestName)); err != nil {
				t.Fatal(err)
			}
			if gens, err := a.List(); err != nil || len(gens) != 1 || !gens[0].Damaged || gens[0].ID != id {
				t.Errorf("%+v, %v", gens, err)
			}
			if _, _, err := a.Load(id); err == nil || !strings.Contains(err.Error(), id) {
				t.Errorf("load: %v", err)
			}
			before := snapshot(t, dir)
			if err := a.Remove(id); !errors.Is(err, ErrForeign) {
				t.Errorf("remove: %v", err)
			}
			if err := a.DropItem(id, "host.key"); !errors.Is(err, ErrForeign) {
				t.Errorf("drop: %v", err)
			}
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is wrong with a copy, the error names it and no content is returned.
func TestBackupsTampered(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":      os.Remove,
		"one bit":   func(p string) error { return os.WriteFile(p, []byte("secreu"), 0o600) },
		"longer":    func(p string) error { return os.WriteFile(p, []byte("secret\n"), 0o600) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"huge":      func(p string) error { return os.Truncate(p, maxStaged+1) },
		"directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"dead link": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("nowhere", p)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, dir, id := savedOnce(t, ownItems)
			if err := spoil(filepath.Join(dir, id, "host.key")); err != nil {
				t.Fatal(err)
			}
			if _, items, err := a.Load(id); err == nil || items != nil || !strings.Contains(err.Error(), "host.key") {
				t.Errorf("%v, %v", items, err)
			}
		})
	}
}

// A crash happens anywhere in Add, DropItem or Remove. The same call then completes the work, and what the crash left
// prevents nothing.
func TestBackupsCrash(t *testing.T) {
	for name, do := range map[string]func(a *Backups, id string) error{
		"add": func(a *Backups, _ string) error {
			_, err := a.Add(backupNow, "more", ownItems[:2])
			return err
		},
		"drop":             func(a *Backups, id string) error { return a.DropItem(id, "host.key") },
		"remove":           func(a *Backups, id string) error { return a.Remove(id) },
		"drop then remove": func(a *Backups, id string) error { return a.DropItem(id, "host.key") },
	} {
		t.Run(name, func(t *testing.T) {
			for n := int64(1); ; n++ {
				a, dir, id := savedOnce(t, ownItems)
				died := dies(func() { _ = do(OpenBackups(dyingAt(n), dir, ""), id) })
				if !died {
					if n < 3 {
						t.Fatalf("there are only %d points", n)
					}
					return
				}
				if name == "drop then remove" {
					if err := a.Remove(id); err != nil {
						t.Fatalf("point %d: %v", n, err)
					}
				} else if name != "remove" || Look(filepath.Join(dir, id)).IsDir {
					if err := do(a, id); err != nil {
						t.Fatalf("point %d: again: %v", n, err)
					}
				}
				gens, err := a.List()
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range gens {
					if _, _, err := a.Load(g.ID); err != nil && !g.Damaged {
						t.Errorf("point %d: %v", n, err)
					}
				}
				if name == "add" { // the new backup is there once; what the crash left is listed as damaged
					whole := 0
					for _, g := range gens {
						if !g.Damaged {
							whole++
						}
					}
					if whole != 2 {
						t.Errorf("point %d: %d backups", n, whole)
					}
					continue
				}
				if Look(filepath.Join(dir, id, "host.key")).Kind != Missing {
					t.Errorf("point %d: the key is still there", n)
				}
				if name == "drop" {
					if err := a.Remove(id); err != nil {
						t.Errorf("point %d: %v", n, err)
					}
				}
				if Look(filepath.Join(dir, id)).Kind != Missing {
					t.Errorf("point %d: the backup stayed", n)
				}
			}
		})
	}
}
