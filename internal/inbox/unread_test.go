package inbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// A request that cannot be read is not removed as stale, and an out/ that cannot be listed is reported. The readable
// requests are still answered.
func TestUnreadRequestStays(t *testing.T) {
	dir := t.TempDir()
	if err := Make(&durable.Disk{}, dir, os.Getegid()); err != nil {
		t.Fatal(err)
	}
	ids := []string{strings.Repeat("a", 32), strings.Repeat("b", 32)}
	for _, id := range ids {
		if err := os.WriteFile(filepath.Join(dir, inName, id+requestSuffix), []byte("from: a.example.org\nx"),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, fails := range map[string]struct {
		op, end string
		pending int
	}{
		"lstat of a request": {"lstat", ids[0] + requestSuffix, 1},
		"listing out":        {"opendir", outName, 2},
		"reading out":        {"readdir", outName, 2},
	} {
		undo := durable.TestOnlyBeforeRead(func(op, path string) error {
			if op == fails.op && strings.HasSuffix(path, fails.end) {
				return syscall.EIO
			}
			return nil
		})
		b := Look(dir, os.Getegid(), time.Now())
		undo()
		if !errors.Is(b.Unread, syscall.EIO) || len(b.Stale) > 0 || len(b.Pending) != fails.pending {
			t.Errorf("%s: %+v", name, b)
		}
	}
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "lstat" && strings.HasSuffix(path, inName) {
			return syscall.EIO
		}
		return nil
	})
	defer undo()
	if made, err := Made(dir); made || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, %v", made, err)
	}
}
