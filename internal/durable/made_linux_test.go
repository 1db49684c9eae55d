package durable

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A directory has its mode from the moment it exists. If the process is killed before it can correct the mode, the next
// process finds a directory and leaves its mode.
func TestDirectoryMadeAndKilled(t *testing.T) {
	if dir := os.Getenv("DURABLE_MADE"); dir != "" { // this is the child
		syscall.Umask(0o022)
		_ = (&Disk{}).MakeDirs(filepath.Join(dir, "above", "certs"), 0o755)
		_ = (&Disk{}).MakeDirs(filepath.Join(dir, "CA"), 0o700)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir := t.TempDir()
	for range 3 { // first above, then above/certs, then CA
		cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "inject=fchmod:signal=KILL", os.Args[0], "-test.run",
			"^TestDirectoryMadeAndKilled$")
		cmd.Env = append(os.Environ(), "DURABLE_MADE="+dir)
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "PTRACE") ||
			strings.Contains(string(out), "ptrace") {
			t.Skipf("strace is not permitted here: %s", out)
		}
	}
	for name, want := range map[string]os.FileMode{"above": 0o755, "above/certs": 0o755, "CA": 0o700} {
		si, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := si.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", name, got, want)
		}
	}
}
