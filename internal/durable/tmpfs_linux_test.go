package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smallDisk makes a file system of 64 KB with the old set on it.
func smallDisk(t *testing.T) (dir string, before map[string]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a file system of its own")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=755"); err != nil {
		t.Skipf("mounting is not permitted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	prepare(t, dir)
	return dir, snapshot(t, dir)
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}

// The disk fills up at each point of a change in turn. The change happens completely or not at all, and it succeeds
// once there is space again.
func TestDiskFillsUp(t *testing.T) {
	dir, before := smallDisk(t)
	seen := map[bool]int{}
	for room := 0; ; room++ { // in pages of 4 KB

		f, err := os.OpenFile(filepath.Join(dir, "fill"), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(f.Name())
		n := 0
		for ; err == nil; n++ {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := f.Truncate(int64(max(n-1-room, 0)) * 4096); err != nil {
			t.Fatal(err)
		}
		err = change(&Disk{}, dir)
		seen[err == nil]++
		switch {
		case err == nil:
			if stateOf(dir) != "new" {
				t.Fatalf("%d pages: %s", room, stateOf(dir))
			}
		case !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir):
			t.Fatalf("%d pages: the error does not say what is full: %v", room, err)
		case errors.Is(err, ErrCommitted):
			t.Fatalf("%d pages: a rename failed, which needs no space: %v", room, err)
		default:
			if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
				t.Fatalf("%d pages:\n%s", room, diff)
			}
		}
		f.Close()
		if err == nil {
			break
		}
		if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil {
			t.Fatal(err)
		}
	}
	if seen[false] < 3 {
		t.Errorf("the disk was full only %d times", seen[false])
	}
}

// The file system becomes read-only at any point, as one does after an I/O error. The set is old, or the change is
// committed and finished later.
func TestDiskGoesReadOnly(t *testing.T) {
	dir, before := smallDisk(t)
	committed := 0
	for n := int64(1); ; n++ {
		d := &Disk{Before: func(p Point) error {
			// The kernel does not remount a file system while a file is open for writing.
			if p.N == n && p.Op != "write" && p.Op != "sync" {
				remount(t, dir, syscall.MS_RDONLY)
			}
			return nil
		}}
		err := change(d, dir)
		ended := d.Points() < n
		now := snapshot(t, dir)
		remount(t, dir, 0)
		switch {
		case err == nil: // the point was skipped, or only an fsync was left
			if stateOf(dir) != "new" {
				t.Fatalf("point %d: %s", n, stateOf(dir))
			}
		case !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), dir):
			t.Fatalf("point %d: %v", n, err)
		case errors.Is(err, ErrCommitted):
			committed++
			if r, err := OpenSet(&Disk{}, dir).Recover(); err != nil || !r.Finished && stateOf(dir) != "new" ||
				stateOf(dir) != "new" {
				t.Fatalf("point %d: %+v, %v, %s", n, r, err, stateOf(dir))
			}
		default:
			if diff := cmp.Diff(before, now); diff != "" {
				t.Fatalf("point %d:\n%s", n, diff)
			}
			if _, err := OpenSet(&Disk{}, dir).Recover(); err != nil || stateOf(dir) != "old" {
				t.Fatalf("point %d: %v, %s", n, err, stateOf(dir))
			}
		}
		if ended {
			break
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
		prepare(t, dir)
	}
	if committed < 3 {
		t.Errorf("only %d times after the commit", committed)
	}
}
