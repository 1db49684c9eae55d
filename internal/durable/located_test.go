package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The target of a path is asked of the disk each time. A directory that was replaced by a link after the first look is
// seen as what it is now, and what is read through the link has its real path.
func TestLocatedRemembersNothing(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	sub, path := filepath.Join(dir, "sub"), filepath.Join(dir, "sub", "file")
	for _, d := range []string{sub, outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "file"), []byte(d), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := Read(path, 4096)
	if got := first.Located(); got.Resolved != path || string(got.Data) != sub {
		t.Errorf("%+v", got)
	}
	if err := os.Rename(sub, filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, sub); err != nil {
		t.Fatal(err)
	}
	for _, n := range []Node{Look(path), Read(path, 4096), first} {
		if got := n.Located(); got.Resolved != filepath.Join(outside, "file") {
			t.Errorf("%+v", got)
		}
	}
	if _, err := Inside(dir, path); err == nil || !strings.Contains(err.Error(), sub) {
		t.Errorf("the link out of the root was not noticed: %v", err)
	}
}

// A look at something that is not a link costs one system call, however deep its path is.
func TestLookAsksOnce(t *testing.T) {
	deep := filepath.Join(t.TempDir(), "a", "b", "c", "d")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	var ops []string
	defer TestOnlyBeforeRead(func(op, _ string) error { ops = append(ops, op); return nil })()
	if n := Look(deep); !n.IsDir || n.Resolved != "" || len(ops) != 1 {
		t.Errorf("%v: %+v", ops, n)
	}
}
