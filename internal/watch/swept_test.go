package watch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Swept paths give no kernel events, and sweeps find their changes: a file, a directory, its entries, and the target of
// a link in it.
func TestSwept(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	put := func(name, text string) error { return os.WriteFile(at(name), []byte(text), 0o644) }
	for _, err := range []error{os.Mkdir(at("dir"), 0o755), put("file", "a"), put("behind", "a"), put("dir/a.pem", "a"),
		os.Symlink("../behind", at("dir/l"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := New(Options{Swept: []string{at("dir"), at("file"), at("later")}, Sweep: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = w.Run(ctx) }()
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"file", func() error { return put("file", "bb") }},
		{"dir/a.pem", func() error { return put("dir/a.pem", "bb") }},
		{"dir/b.pem", func() error { return put("dir/b.pem", "a") }},
		{"dir/l", func() error { return put("behind", "bb") }},
		{"dir/a.pem", func() error { return os.Remove(at("dir/a.pem")) }},
		{"later", func() error { return put("later", "a") }},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-w.C():
			if e.Path != at(c.name) {
				t.Errorf("%s: told of %s", c.name, e.Path)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: nothing was told", c.name)
		}
	}
	w.Follow(Options{Swept: []string{at("behind")}}) // as after SIGHUP
	w.Absorb()
	if err := put("behind", "ccc"); err != nil {
		t.Fatal(err)
	}
	if e := <-w.C(); e.Path != at("behind") {
		t.Errorf("told of %s", e.Path)
	}
	if len(w.joined) > 0 {
		t.Errorf("the kernel was asked for events of %v", w.joined)
	}
}
