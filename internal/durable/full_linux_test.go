package durable

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A full disk: the old set stays, and the error names the file.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a file system of its own")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	prepare(t, dir)
	s := OpenSet(&Disk{}, dir)
	err := s.Stage("host.cert", make([]byte, 64<<10), 0o600)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "host.cert") || stateOf(dir) != "old" {
		t.Errorf("%v, %s", err, stateOf(dir))
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := change(&Disk{}, dir); !errors.Is(err, syscall.EROFS) || stateOf(dir) != "old" {
		t.Errorf("read-only: %v, %s", err, stateOf(dir))
	}
}
