package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// All packages read the disk through this file, so that tests can let each read fail, as Disk.Before does for changes.

var beforeRead atomic.Pointer[func(op, path string) error]

// TestOnlyBeforeRead calls f before each system call that reads the disk, until undo is called. An error of f is
// returned instead of the call. op is lstat, stat, readlink, resolve, open, read, opendir or readdir. Only one test at
// a time may use it.
func TestOnlyBeforeRead(f func(op, path string) error) (undo func()) {
	beforeRead.Store(&f)
	return func() { beforeRead.Store(nil) }
}

func before(op, path string) error {
	f := beforeRead.Load()
	if f == nil {
		return nil
	}
	err := (*f)(op, path)
	if no := syscall.Errno(0); errors.As(err, &no) {
		return &fs.PathError{Op: op, Path: path, Err: no}
	}
	return err
}

func lstat(path string) (fs.FileInfo, error) {
	if err := before("lstat", path); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

func stat(path string) (fs.FileInfo, error) {
	if err := before("stat", path); err != nil {
		return nil, err
	}
	return os.Stat(path)
}

func readlink(path string) (string, error) {
	if err := before("readlink", path); err != nil {
		return "", err
	}
	return os.Readlink(path)
}

// Resolve is the absolute path of an existing file, without any link in it.
func Resolve(path string) (string, error) {
	if err := before("resolve", path); err != nil {
		return "", err
	}
	r, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(r)
}

// Open opens a file for reading. It does not block on a FIFO without a writer; the caller must check that the
// descriptor is of a regular file.
func Open(path string) (*os.File, error) { return open(path, 0) }

// OpenNoFollow is Open, but a symbolic link is an error.
func OpenNoFollow(path string) (*os.File, error) { return open(path, unix.O_NOFOLLOW) }

func open(path string, flags int) (*os.File, error) {
	if err := before("open", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
}

// ReadAll reads the rest of a file that Open has opened. The error is ErrTooLarge where that is more than limit octets.
func ReadAll(f *os.File, limit int64) ([]byte, error) {
	if err := before("read", f.Name()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", f.Name(), ErrTooLarge, limit)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// openDir opens a directory; anything else is ENOTDIR, and a FIFO does not block.
func openDir(path string, flags int) (*os.File, error) {
	if err := before("opendir", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
}

// Names returns the names in a directory, sorted, but at most that many; 0: all. A missing directory, and one of which
// a part could not be read, is an error.
func Names(dir string, most int) ([]string, error) { return names(dir, most, 0) }

// NamesNoFollow is Names, but a symbolic link is an error.
func NamesNoFollow(dir string, most int) ([]string, error) {
	return names(dir, most, unix.O_NOFOLLOW)
}

func names(dir string, most, flags int) ([]string, error) {
	var out []string
	err := eachName(dir, flags, func(name string) bool {
		out = append(out, name)
		return most <= 0 || len(out) < most
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

// EachName calls take with each name in a directory, in no order, until take returns false. It does not hold all names
// in memory. Its errors are those of Names.
func EachName(dir string, take func(name string) bool) error { return eachName(dir, 0, take) }

func eachName(dir string, flags int, take func(name string) bool) error {
	f, err := openDir(dir, flags)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := before("readdir", dir); err != nil {
		return err
	}
	for {
		some, err := f.Readdirnames(namesAtATime)
		for _, name := range some {
			if !take(name) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// namesAtATime is how many names one read of a directory may return.
const namesAtATime = 1024
