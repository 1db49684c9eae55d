package durable

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Nothing that may be in a directory blocks a reader or is taken for a regular file.
func TestNodeKinds(t *testing.T) {
	dir := t.TempDir()
	p := func(n string) string { return filepath.Join(dir, n) }
	mkfifo(t, p("fifo"))
	l, err := net.Listen("unix", p("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(p("file"), []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p("file"), 0o640|fs.ModeSetuid|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	_ = os.Mkdir(p("dir"), 0o1750)
	for name, target := range map[string]string{"to-fifo": "fifo", "to-dir": "dir", "to-file": "to-file2",
		"to-file2": "file", "loop": "loop", "zero": "/dev/zero", "through": "file/x", "sub": "."} {
		if err := os.Symlink(target, p(name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		kind     Kind
		resolved string
		exists   bool
		data     string
		err      error
	}{
		"fifo":                   {Other, "fifo", true, "", ErrNotRegular},
		"to-fifo":                {Link, "fifo", true, "", ErrNotRegular},
		"socket":                 {Other, "socket", true, "", ErrNotRegular},
		"zero":                   {Link, "/dev/zero", true, "", ErrNotRegular},
		"dir":                    {Directory, "dir", true, "", ErrNotRegular},
		"to-dir":                 {Link, "dir", true, "", ErrNotRegular},
		"file":                   {File, "file", true, "four", nil},
		"to-file":                {Link, "file", true, "four", nil},
		"sub/to-file":            {Link, "file", true, "four", nil},
		"loop":                   {Link, "", false, "", syscall.ELOOP},
		"through":                {Link, "", false, "", nil},
		"missing":                {Missing, "", false, "", nil},
		"missing/file":           {Missing, "", false, "", nil},
		"file/x":                 {Missing, "", false, "", nil},
		"nul\x00":                {Unknown, "", false, "", syscall.EINVAL},
		strings.Repeat("x", 300): {Unknown, "", false, "", syscall.ENAMETOOLONG},
	} {
		n := Read(p(name), 4).Located()
		want := c.resolved
		if want != "" && !filepath.IsAbs(want) {
			want = p(want)
		}
		if n.Kind != c.kind || n.Exists != c.exists || n.Resolved != want || string(n.Data) != c.data ||
			!errors.Is(n.Err, c.err) {
			t.Errorf("%.20s: %+v", name, n)
		}
		if c.err == ErrNotRegular && !strings.Contains(n.Err.Error(), p(name)) {
			t.Errorf("%s: the error does not name it: %v", name, n.Err)
		}
	}
	if n := Look(p("to-file")); n.Mode != 0o640|fs.ModeSetuid|fs.ModeSticky || n.Size != 4 || n.Nlink != 1 ||
		n.UID != uint32(os.Getuid()) || n.Modified.IsZero() || n.Changed.IsZero() || n.Data != nil {
		t.Errorf("%+v", n)
	}
}

// The limit applies to the bytes that are read, not to the size that stat(2) reports.
func TestNodeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for size, ok := range map[int]bool{0: true, 1: true, 4095: true, 4096: true, 4097: false, 1 << 20: false} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		n := Read(path, 4096)
		if errors.Is(n.Err, ErrTooLarge) == ok || ok && (n.Err != nil || n.Data == nil || len(n.Data) != size) ||
			!ok && n.Data != nil {
			t.Errorf("%d bytes: %d, %v", size, len(n.Data), n.Err)
		}
	}
	if n := Read("/proc/self/status", 10); n.Size != 0 || !errors.Is(n.Err, ErrTooLarge) {
		t.Errorf("%d bytes, they say: %v", n.Size, n.Err)
	}
	if n := Read("/proc/self/status", 1<<20); len(n.Data) < 100 || n.Err != nil {
		t.Errorf("%d bytes, %v", len(n.Data), n.Err)
	}
}

// A file that must not be read is not reported as missing.
func TestNodeForbidden(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	_ = os.Mkdir(closed, 0o700)
	if os.Geteuid() == 0 {
		_ = os.Chmod(filepath.Dir(dir), 0o755)
		runtime.LockOSThread() // the file system user ID belongs to one thread
		defer runtime.UnlockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0) }()
	} else {
		_ = os.Chmod(filepath.Join(dir, "secret"), 0)
		_ = os.Chmod(closed, 0)
		defer func() { _ = os.Chmod(closed, 0o700) }()
	}
	if n := Read(filepath.Join(dir, "secret"), 10); n.Kind != File || !n.Exists || n.Data != nil ||
		!errors.Is(n.Err, fs.ErrPermission) {
		t.Errorf("%+v", n)
	}
	if n := Look(filepath.Join(closed, "x")); !errors.Is(n.Err, fs.ErrPermission) {
		t.Errorf("%+v", n)
	}
}
