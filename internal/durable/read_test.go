package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// One of the system calls that look at or read a file fails. The file is never reported as missing, the errno is kept,
// and no content is returned.
func TestErrorIsNotMissing(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(string) error{
		"file": func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"link": func(p string) error { return os.Symlink("file", p) },
		"none": func(string) error { return nil },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "link", "none"} {
		for _, no := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.ELOOP,
			syscall.ESTALE, syscall.ENOMEM, syscall.EPERM} {
			path := filepath.Join(dir, name)
			hit := 0
			for n := 1; ; n++ {
				calls := 0
				undo := TestOnlyBeforeRead(func(op, _ string) error {
					if calls++; calls == n {
						return no
					}
					return nil
				})
				got := Read(path, 10).Located()
				undo()
				if calls < n {
					break
				}
				hit++
				if got.Kind == Missing || !errors.Is(got.Err, no) || got.Data != nil {
					t.Errorf("%s, %v at call %d: %+v", name, no, n, got)
				}
			}
			if want := map[string]int{"file": 4, "link": 6, "none": 1}[name]; hit != want {
				t.Errorf("%s: %d calls, want %d", name, hit, want)
			}
		}
	}
	for _, op := range []string{"opendir", "readdir"} {
		undo := TestOnlyBeforeRead(func(o, _ string) error {
			if o == op {
				return syscall.EIO
			}
			return nil
		})
		names, err := Names(dir, 0)
		undo()
		if names != nil || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, %v", op, names, err)
		}
	}
	if names, err := Names(dir, 1); err != nil || len(names) != 1 {
		t.Errorf("at most one: %v, %v", names, err)
	}
	if names, err := Names(dir, 2); err != nil || len(names) != 2 {
		t.Errorf("at most two of two: %v, %v", names, err)
	}
}

// A FIFO in the place of a file or a directory is an error at once: the open does not wait for the other end.
func TestNoOpenHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	d := &Disk{}
	for name, f := range map[string]func() error{
		"read":    func() error { return Read(path, 1).Err },
		"names":   func() error { _, err := Names(path, 0); return err },
		"lock":    func() error { _, err := TryLock(path); return err },
		"syncdir": func() error { return d.SyncDir(path) },
		"append":  func() error { return d.Append(path, []byte("x")) },
	} {
		done := make(chan error, 1)
		go func() { done <- f() }()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s hangs", name)
		}
	}
}

// Another program renames the file away and its own file to that name at the moment of the open. The new file is read,
// and nothing is reported as missing.
func TestRenamedWhileItIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.txt")
	for name, text := range map[string]string{path: "old", path + ".new": "new"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	moved := false
	undo := TestOnlyBeforeRead(func(op, _ string) error {
		switch {
		case op == "open" && !moved:
			moved = true
			return os.Rename(path, path+".old")
		case op == "lstat" && moved:
			if err := os.Rename(path+".new", path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	defer undo()
	if got := Read(path, 10); got.Err != nil || string(got.Data) != "new" {
		t.Errorf("%q, %v", got.Data, got.Err)
	}
}
