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

// Every read of the disk, in whatever room, comes through this file: it is the
// seam for tests that let one fail, as Disk.Before is for changes.

var beforeRead atomic.Pointer[func(op, path string) error]

// TestOnlyBeforeRead calls f before each system call that reads the disk, until
// undo is called. An error from it is returned in place of the call. op is lstat,
// stat, readlink, resolve, open, read, opendir or readdir. One test at a time.
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

// Resolve is the absolute path without any link in it of what is there.
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

// Open opens a file for reading. A FIFO without a writer is opened at once and
// not waited for; whether it is a regular file the caller asks the descriptor.
func Open(path string) (*os.File, error) { return open(path, 0) }

// OpenNoFollow is Open for what is no symbolic link.
func OpenNoFollow(path string) (*os.File, error) { return open(path, unix.O_NOFOLLOW) }

func open(path string, flags int) (*os.File, error) {
	if err := before("open", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
}

// ReadAll reads what is left of a file that Open has opened. More than limit bytes
// are ErrTooLarge.
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

// openDir opens a directory and nothing else: ENOTDIR for a FIFO, which is not
// waited for.
func openDir(path string, flags int) (*os.File, error) {
	if err := before("opendir", path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
}

// Names are the names in a directory, sorted, at most that many; 0: all. A
// directory of which a part could not be read is an error, and so is one that is
// not there: the caller knows whether that may be.
func Names(dir string, most int) ([]string, error) { return names(dir, most, 0) }

// NamesNoFollow is Names for a directory that is no symbolic link.
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

// EachName gives the names in a directory, in no order, without holding all of them. false from take ends it. Errors
// are those of Names.
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

// namesAtATime is how many names are read at a time.
const namesAtATime = 1024
