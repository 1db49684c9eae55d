package inbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// A user with a shell may leave other files in the inbox. Old ones are removed or reported. A new file stays, because
// its process may still be writing it.
func TestInboxOfOthers(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := Make(&durable.Disk{}, dir, os.Getegid()); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, inName, name) }
	for _, err := range []error{os.Mkdir(in("old"), 0o755), os.Mkdir(in("new"), 0o755),
		os.Symlink("/etc/passwd", in("link")), os.WriteFile(in("half"), nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(in("old"), now.Add(-time.Hour), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	b := Look(dir, os.Getegid(), now)
	slices.Sort(b.Stale)
	if want := []string{in("link"), in("old")}; !slices.Equal(b.Stale, want) || b.Crowded || len(b.Pending) > 0 ||
		b.Err != nil || b.Loose != "" {
		t.Errorf("%+v, want stale %v", b, want)
	}
	if want := mustStat(t, in("new")).ModTime().Add(staleRequest + time.Second); !b.Fades.Equal(want) {
		t.Errorf("the next is stale at %v, want %v", b.Fades, want)
	}
	if later := Look(dir, os.Getegid(), b.Fades); !slices.Contains(later.Stale, in("new")) {
		t.Errorf("not stale when it was said to be: %v", later.Stale)
	}
	for i := range maxNames {
		if err := os.Symlink("x", in(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if b := Look(dir, os.Getegid(), now); !b.Crowded || len(b.Stale) < maxNames-10 {
		t.Errorf("crowded %v, %d stale", b.Crowded, len(b.Stale))
	}
}

func mustStat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}
