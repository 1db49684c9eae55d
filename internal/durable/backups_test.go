package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backups")
	a := OpenBackups(&Disk{}, dir, "")
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	foreign := []Item{{Name: "host.cert", Data: []byte("bought"), Mode: 0o644, Foreign: true},
		{Name: "0.0", LinkTo: "cacert.pem", Foreign: true}}
	id1, err := a.Add(now, "test", foreign)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Add(now.Add(time.Hour), "other", foreign); err != nil || again != id1 {
		t.Errorf("the same content was saved twice: %s, %v", again, err)
	}
	id2, err := a.Add(now.Add(time.Hour), "own",
		[]Item{{Name: "host.key", Data: []byte("secret"), Mode: 0o600, Secret: true},
			{Name: "host.cert", Data: []byte("ours")}})
	if err != nil {
		t.Fatal(err)
	}
	gens, err := a.List()
	if err != nil || len(gens) != 2 || gens[0].ID != id2 || !gens[1].Foreign || gens[0].Foreign {
		t.Fatalf("%+v, %v", gens, err)
	}
	if st, _ := os.Stat(filepath.Join(dir, id2, "host.key")); st.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v", st.Mode())
	}
	if st, _ := os.Stat(dir); st.Mode().Perm() != 0o700 {
		t.Errorf("the mode of the directory is %v", st.Mode())
	}
	_, items, err := a.Load(id1)
	if err != nil || len(items) != 2 || string(items[0].Data) != "bought" || items[1].LinkTo != "cacert.pem" {
		t.Errorf("%+v, %v", items, err)
	}
	for _, id := range []string{id1, "none"} {
		if err := a.Remove(id); !errors.Is(err, ErrForeign) {
			t.Errorf("removing %s: %v", id, err)
		}
	}
	if err := a.DropItem(id1, "host.cert"); !errors.Is(err, ErrForeign) {
		t.Errorf("dropping a foreign file: %v", err)
	}
	if err := a.DropItem(id2, "host.key"); err != nil {
		t.Fatal(err)
	}
	if _, items, err := a.Load(id2); err != nil || len(items) != 1 || items[0].Name != "host.cert" {
		t.Errorf("%+v, %v", items, err)
	}
	if err := os.WriteFile(filepath.Join(dir, id1, "host.cert"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Load(id1); err == nil {
		t.Error("a changed file was not noticed")
	}
	for _, id := range []string{"../x", "", ".", ".."} {
		if _, _, err := a.Load(id); err == nil {
			t.Errorf("%q was loaded", id)
		}
	}
	if err := a.Remove(id2); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "19990101T000000Z-01"), 0o700); err != nil {
		t.Fatal(err)
	}
	if gens, _ := a.List(); len(gens) != 2 || !gens[1].Damaged {
		t.Errorf("%+v", gens)
	}
}

// A FIFO does not block, and a dangling link and a file that is too large are distinguished.
func TestNode(t *testing.T) {
	dir := t.TempDir()
	p := func(n string) string { return filepath.Join(dir, n) }
	mkfifo(t, p("fifo"))
	_ = os.Symlink("nowhere", p("dangling"))
	_ = os.WriteFile(p("large"), make([]byte, 100), 0o640)
	_ = os.Symlink("large", p("link"))
	for name, c := range map[string]struct {
		kind   Kind
		exists bool
		err    error
	}{
		"fifo": {Other, true, ErrNotRegular}, "dangling": {Link, false, nil}, "large": {File, true, ErrTooLarge},
		"link": {Link, true, ErrTooLarge}, "none": {Missing, false, nil}, ".": {Directory, true, ErrNotRegular},
		"large/x": {Missing, false, nil},
	} {
		n := Read(p(name), 50)
		if n.Kind != c.kind || n.Exists != c.exists || !errors.Is(n.Err, c.err) || n.Data != nil {
			t.Errorf("%s: %+v", name, n)
		}
	}
	if n := Read(p("link"), 100); len(n.Data) != 100 || n.Target != "large" || n.Mode != 0o640 {
		t.Errorf("%+v", n)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
