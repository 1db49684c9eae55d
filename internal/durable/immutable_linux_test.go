package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A file that cannot be replaced is noticed before the commit. Otherwise the key would be the new one and the
// certificate the old one. Here a read-only mount of the file stands for the immutable flag.
func TestIrreplaceable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a mount of its own")
	}
	dir := t.TempDir()
	prepare(t, dir)
	cert := filepath.Join(dir, "host.cert")
	if err := syscall.Mount(cert, cert, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(cert, syscall.MNT_DETACH) }()
	if err := syscall.Mount("", cert, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	err := change(&Disk{}, dir)
	if err == nil || errors.Is(err, ErrCommitted) || stateOf(dir) != "old" {
		t.Errorf("%v leaves %s", err, stateOf(dir))
	}
}

// A directory on a read-only file system is noticed before anything is written.
func TestWritable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a mount of its own")
	}
	dir := t.TempDir()
	if err := Writable(dir); err != nil {
		t.Error(err)
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := Writable(dir); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	if err := Writable(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
