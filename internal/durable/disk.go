// Package durable changes files so that a crash or a power failure leaves either the old or the new content: durable
// single writes, sets of files that change together, backups, and locks held by the kernel.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Point is one operation that is about to change the disk, and so a place where a crash leaves another state. A Disk
// numbers its points from 1.
type Point struct {
	N    int64
	Op   string // mkdir, create, write, append, sync, rename, symlink, remove, chmod, chown, syncdir
	Path string

	From string      // rename: the old name; symlink: its text
	Data []byte      // write, append
	Mode fs.FileMode // mkdir, write, chmod
}

// Disk performs every change that mailcertd makes to a file system, so that tests can let each operation crash or fail:
// each is one Point. Several goroutines may use it. The zero value is ready for use by a process that is not root.
type Disk struct {
	// Chown gives every new file and directory to root:wheel (0:0). It is set when the process runs as root.
	Chown bool
	// Before, when not nil, is called before each operation. Its error is returned instead of the operation; a *Short
	// lets half of a write happen.
	Before func(Point) error

	n atomic.Int64
	// unsynced are the directories in which MakeDirs has made directories that were not synced yet. A sync.Map, because
	// several goroutines may use the Disk.
	unsynced sync.Map
}

// Short is an error of Disk.Before for a write or an append that is to stop in the middle: half of the octets are
// written.
type Short struct {
	Err  error  // the error of the operation
	Then func() // called after the write; nil: nothing
}

func (s *Short) Error() string { return "a short write: " + s.Err.Error() }

// Unwrap returns the error of the system call.
func (s *Short) Unwrap() error { return s.Err }

// write writes data, or half of it where short, the result of Before, is a *Short.
func write(f *os.File, data []byte, short error) error {
	if s := (*Short)(nil); errors.As(short, &s) {
		_, _ = f.Write(data[:len(data)/2])
		if s.Then != nil {
			s.Then()
		}
		return &fs.PathError{Op: "write", Path: f.Name(), Err: s.Err}
	}
	_, err := f.Write(data)
	return err
}

// cut says whether err is a *Short, which write handles.
func cut(err error) bool { s := (*Short)(nil); return errors.As(err, &s) }

func (d *Disk) point(op, path string) error { return d.reach(Point{Op: op, Path: path}) }

func (d *Disk) reach(p Point) error {
	p.N = d.n.Add(1)
	if d.Before == nil {
		return nil
	}
	err := d.Before(p)
	if no, bare := err.(syscall.Errno); bare { // in the form of the errors of package os
		return &fs.PathError{Op: p.Op, Path: p.Path, Err: no}
	}
	return err
}

// Points is the number of operations so far.
func (d *Disk) Points() int64 { return d.n.Load() }

// Create makes a new file; one that exists is an error. The file is 0600 before it has content, then it gets its owner,
// content and mode, and is synced. The directory is not: call SyncDir, or rename the file first.
func (d *Disk) Create(path string, data []byte, mode fs.FileMode) error {
	return d.create(path, data, mode, true)
}

// CreateUnsynced is Create without the sync: after a power failure the file may be empty or incomplete. It is for files
// that are made again when that has happened.
func (d *Disk) CreateUnsynced(path string, data []byte, mode fs.FileMode) error {
	return d.create(path, data, mode, false)
}

func (d *Disk) create(path string, data []byte, mode fs.FileMode, sync bool) (err error) {
	if err := d.point("create", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if d.Chown {
		if err := f.Chown(0, 0); err != nil {
			return err
		}
	}
	short := d.reach(Point{Op: "write", Path: path, Data: data, Mode: mode})
	if short != nil && !cut(short) {
		return short
	}
	if err := write(f, data, short); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil || !sync {
		return err
	}
	if err := d.point("sync", path); err != nil {
		return err
	}
	return f.Sync()
}

// Replace gives path this content and mode, durably and at once: a new file in the same directory, fsync, rename, fsync
// of the directory. A symbolic link at path is replaced, not its target.
func (d *Disk) Replace(path string, data []byte, mode fs.FileMode) error {
	tmp := filepath.Join(filepath.Dir(path), TempName(filepath.Base(path)))
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.Create(tmp, data, mode); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	if err := d.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// Append adds data to the end of an existing file and syncs it. A crash may leave a part of data, so the reader of the
// file must be able to tell.
func (d *Disk) Append(path string, data []byte) error { return d.extend(path, -1, data) }

// Extend is Append for a file of which only the first at octets count: the rest, which a crash left, is cut off first.
func (d *Disk) Extend(path string, at int64, data []byte) error { return d.extend(path, at, data) }

func (d *Disk) extend(path string, at int64, data []byte) (err error) {
	short := d.reach(Point{Op: "append", Path: path, Data: data})
	if short != nil && !cut(short) {
		return short
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	end := st.Size()
	if at >= 0 && at < end {
		end = at
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	if err := write(f, data, short); err != nil {
		_ = f.Truncate(end) // the disk may be full: leave no part of data
		return err
	}
	if err := d.point("sync", path); err != nil {
		return err
	}
	return f.Sync()
}

// TempName is the name of a file until it is complete.
func TempName(name string) string { return "." + name + ".mailcertd" }

// TempOf returns the name whose TempName this is; false where it is no such name.
func TempOf(name string) (string, bool) {
	base, ok := strings.CutSuffix(name, ".mailcertd")
	if base, dot := strings.CutPrefix(base, "."); ok && dot && base != "" {
		return base, true
	}
	return "", false
}

// Rename renames old to new, and replaces what is at new. No directory is synced.
func (d *Disk) Rename(old, new string) error {
	if err := d.reach(Point{Op: "rename", Path: new, From: old}); err != nil {
		return err
	}
	return os.Rename(old, new)
}

// Symlink makes path a new symbolic link with that text. No directory is synced.
func (d *Disk) Symlink(text, path string) error {
	if err := d.reach(Point{Op: "symlink", Path: path, From: text}); err != nil {
		return err
	}
	return os.Symlink(text, path)
}

// Remove removes one entry; of a symbolic link only the link. It is no error if there is none. No directory is synced.
func (d *Disk) Remove(path string) error {
	if err := d.point("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Chmod sets the mode of a file or directory and syncs it. A symbolic link is an error.
func (d *Disk) Chmod(path string, mode fs.FileMode) error {
	return d.onFile(Point{Op: "chmod", Path: path, Mode: mode}, func(f *os.File) error { return f.Chmod(mode) })
}

// ChownRoot gives a file or directory to root:wheel (0:0) and syncs it. A symbolic link is an error.
func (d *Disk) ChownRoot(path string) error {
	return d.onFile(Point{Op: "chown", Path: path}, func(f *os.File) error { return f.Chown(0, 0) })
}

// ChownGroup gives a file or directory to that group and syncs it; its owner stays. A symbolic link is an error. It
// does nothing where Chown is not set or gid is negative.
func (d *Disk) ChownGroup(path string, gid int) error {
	if !d.Chown || gid < 0 {
		return nil
	}
	return d.onFile(Point{Op: "chown", Path: path}, func(f *os.File) error { return f.Chown(-1, gid) })
}

func (d *Disk) onFile(p Point, change func(*os.File) error) error {
	if err := d.reach(p); err != nil {
		return err
	}
	f, err := os.OpenFile(p.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := change(f); err != nil {
		return err
	}
	return f.Sync()
}
