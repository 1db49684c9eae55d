// Package durable changes files so that a crash or a power loss leaves the old
// or the new, never half: durable single writes, file sets that change
// together, the archive, and locks held by the kernel.
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

// Point is one durable operation about to happen: the place where a crash can
// fall between two states of the disk. Points are numbered from 1 in the order
// in which a Disk performs them.
type Point struct {
	N    int64
	Op   string // mkdir, create, write, append, sync, rename, symlink, remove, chmod, chown, syncdir
	Path string

	From string      // rename: the old name; symlink: its text
	Data []byte      // write, append
	Mode fs.FileMode // mkdir, write, chmod
}

// Disk performs every change that mailcertd makes to a file system. It is the
// one seam for crash and fault tests: each operation is one Point. The zero
// value is ready for use by an unprivileged process.
type Disk struct {
	// Chown gives every file and directory that is made to root:wheel (0:0).
	// Set when the process runs as root.
	Chown bool
	// Before, when not nil, is called before each operation. An error from it is
	// returned in place of the operation; a *Short lets a part of a write happen.
	Before func(Point) error

	n atomic.Int64
	// unsynced are the directories in which MakeDirs has made directories, and which were not synced since.
	unsynced sync.Map
}

// Short is what Disk.Before returns, before a write or an append, to let it stop in the middle: half of
// the bytes go to the file.
type Short struct {
	Err  error  // what the operation gives then
	Then func() // called after the write; nil: nothing
}

func (s *Short) Error() string { return "a short write: " + s.Err.Error() }

// Unwrap gives the error of the system call.
func (s *Short) Unwrap() error { return s.Err }

// write writes data, as far as what point said before it lets it.
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

// cut says that an error of point is one that write knows.
func cut(err error) bool { s := (*Short)(nil); return errors.As(err, &s) }

func (d *Disk) point(op, path string) error { return d.reach(Point{Op: op, Path: path}) }

func (d *Disk) reach(p Point) error {
	p.N = d.n.Add(1)
	if d.Before == nil {
		return nil
	}
	err := d.Before(p)
	if no, bare := err.(syscall.Errno); bare { // as the system's own errors are told
		return &fs.PathError{Op: p.Op, Path: p.Path, Err: no}
	}
	return err
}

// Points is how many operations were performed so far.
func (d *Disk) Points() int64 { return d.n.Load() }

// Create makes a new file that must not exist: 0600 before it has content,
// then its owner, content and mode, then fsync. The directory is not synced:
// call SyncDir, or rename it first.
func (d *Disk) Create(path string, data []byte, mode fs.FileMode) error {
	return d.create(path, data, mode, true)
}

// CreateUnsynced is Create without fsync: a loss of power may leave the file empty or a part of it. It is for what a
// reader makes again where it is lost.
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

// Replace gives path this content and mode, durably and all at once: a new
// file beside it, fsync, rename over it, fsync of the directory. What a link
// at path leads to is not touched: the link is replaced.
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

// Append adds data to the end of a file that is there, and syncs it. A crash
// may leave a part of it: only for files whose reader can tell.
func (d *Disk) Append(path string, data []byte) error { return d.extend(path, -1, data) }

// Extend is Append for a file of which the first at bytes count: what a crash left
// behind them is cut off.
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
		_ = f.Truncate(end) // a full disk: nothing of it stays
		return err
	}
	if err := d.point("sync", path); err != nil {
		return err
	}
	return f.Sync()
}

// TempName is what a file is called until it is whole.
func TempName(name string) string { return "." + name + ".mailcertd" }

// TempOf is the name of a file that a crash left under its temporary name.
func TempOf(name string) (string, bool) {
	base, ok := strings.CutSuffix(name, ".mailcertd")
	if base, dot := strings.CutPrefix(base, "."); ok && dot && base != "" {
		return base, true
	}
	return "", false
}

// Rename renames old to new, over what is there. No directory is synced.
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

// Remove removes one entry, never what a link leads to. An entry that is gone
// already is no error. No directory is synced.
func (d *Disk) Remove(path string) error {
	if err := d.point("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Chmod sets the mode of a file or directory that is no link and syncs it.
func (d *Disk) Chmod(path string, mode fs.FileMode) error {
	return d.onFile(Point{Op: "chmod", Path: path, Mode: mode}, func(f *os.File) error { return f.Chmod(mode) })
}

// ChownRoot gives a file or directory that is no link to root:wheel (0:0) and
// syncs it.
func (d *Disk) ChownRoot(path string) error {
	return d.onFile(Point{Op: "chown", Path: path}, func(f *os.File) error { return f.Chown(0, 0) })
}

// ChownGroup gives a file or directory that is no link to that group, where
// Chown is set, and syncs it. Its owner stays.
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
