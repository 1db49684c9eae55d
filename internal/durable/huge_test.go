package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// The size of a file shows that it is too large: nothing of it is read, however high the limit.
func TestHugeFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(20 << 30); err != nil {
		t.Skip(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := Read(path, 1<<30)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
		t.Errorf("%d bytes were allocated for it", after.TotalAlloc-before.TotalAlloc)
	}
	if !errors.Is(n.Err, ErrTooLarge) || n.Data != nil || n.Unread() {
		t.Errorf("%v", n.Err)
	}
	before = after
	n = Blocks(path, 1<<30, func([]byte) bool { return true })
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
		t.Errorf("in blocks: %d bytes were allocated for it", after.TotalAlloc-before.TotalAlloc)
	}
	if !errors.Is(n.Err, ErrTooLarge) || n.Unread() {
		t.Errorf("in blocks: %v", n.Err)
	}
}

// A file of lines that is too large is not read either, and one without a line feed is not read into memory.
func TestHugeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	for _, size := range []int64{20 << 30, 300 << 20} {
		if err := os.WriteFile(path, []byte("a row\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Skip(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var taken int
		n := Blocks(path, 1<<30, func(block []byte) bool { taken += len(block); return true })
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 32<<20 {
			t.Errorf("%d bytes: %d were allocated for it", size, after.TotalAlloc-before.TotalAlloc)
		}
		if !errors.Is(n.Err, ErrTooLarge) || taken > 6 || n.Unread() {
			t.Errorf("%d bytes: %v, %d allocated", size, n.Err, taken)
		}
	}
}

// Bytes that a crash left after the valid part are cut off. An error leaves the valid part unchanged.
func TestExtend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, behind := range []string{"", "-----BEGIN CERTIF", "much more than what is added"} {
		if err := os.WriteFile(path, []byte("key\n"+behind), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := new(Disk).Extend(path, 4, []byte("certificate\n")); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != "key\ncertificate\n" {
			t.Errorf("%q", got)
		}
	}
}
