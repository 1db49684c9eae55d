// Package durable changes files so that a crash or a power loss leaves the old
// or the new, never half: durable single writes, file sets that change
// together, the archive, and locks held by the kernel.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Point is one durable operation about to happen: the place where a crash can
// fall between two states of the disk. Points are numbered from 1 in the order
// in which a Disk performs them.
type Point struct {
	N    int64
	Op   string // mkdir, create, write, append, sync, rename, symlink, remove, chmod, chown, syncdir
	Path string
}

// Disk performs every change that mailcertd makes to a file system. It is the
// one seam for crash and fault tests: each operation is one Point. The zero
// value is ready for use by an unprivileged process.
type Disk struct {
	// Chown gives every file and directory that is made to root:wheel (0:0).
	// Set when the process runs as root.
	Chown bool
	// Before, when not nil, is called before each operation. An error from it is
	// returned in place of the operation.
	Before func(Point) error

	n atomic.Int64
}

func (d *Disk) point(op, path string) error {
	n := d.n.Add(1)
	if d.Before == nil {
		return nil
	}
	return d.Before(Point{N: n, Op: op, Path: path})
}

// Points is how many operations were performed so far.
func (d *Disk) Points() int64 { return d.n.Load() }

// Mkdir makes one directory with exactly that mode and syncs its parent. A
// directory that is there already is no error and keeps its mode.
func (d *Disk) Mkdir(path string, mode fs.FileMode) error {
	if n := Look(path); n.IsDir {
		return nil
	} else if n.Err != nil {
		return n.Err
	}
	if err := d.point("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	err := d.own(path, mode)
	if err == nil {
		err = d.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path) // else the next one finds it there, and never gives it its mode or syncs it
	}
	return err
}

// MkdirAll makes path and what is missing above it; path gets mode, the
// directories above it 0755.
func (d *Disk) MkdirAll(path string, mode fs.FileMode) error {
	if n := Look(path); n.IsDir {
		return nil
	} else if n.Err != nil {
		return n.Err
	}
	if parent := filepath.Dir(path); parent != path {
		if err := d.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	return d.Mkdir(path, mode)
}

func (d *Disk) own(path string, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if d.Chown {
		if err := f.Chown(0, 0); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

// Create makes a new file that must not exist: 0600 before it has content,
// then its owner, content and mode, then fsync. The directory is not synced:
// call SyncDir, or rename it first.
func (d *Disk) Create(path string, data []byte, mode fs.FileMode) (err error) {
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
	if err := d.point("write", path); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
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
	tmp := filepath.Join(filepath.Dir(path), tempName(filepath.Base(path)))
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
func (d *Disk) Append(path string, data []byte) (err error) {
	if err := d.point("append", path); err != nil {
		return err
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
	if _, err := f.Write(data); err != nil {
		_ = f.Truncate(st.Size()) // a full disk: nothing of it stays
		return err
	}
	if err := d.point("sync", path); err != nil {
		return err
	}
	return f.Sync()
}

// tempName is what a file is called until it is whole.
func tempName(name string) string { return "." + name + ".mailcertd" }

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
	if err := d.point("rename", new); err != nil {
		return err
	}
	return os.Rename(old, new)
}

// Symlink makes path a new symbolic link with that text. No directory is synced.
func (d *Disk) Symlink(text, path string) error {
	if err := d.point("symlink", path); err != nil {
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

// RemoveDir removes these files of a directory in this order, each with what an
// interrupted Replace left of it, and then the directory. Another file in it is
// an error. Its parent is not synced.
func (d *Disk) RemoveDir(dir string, names ...string) error {
	for _, name := range names {
		for _, n := range []string{tempName(name), name} {
			if path := filepath.Join(dir, n); n == name || Look(path).Kind != Missing {
				if err := d.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	return d.Remove(dir)
}

// Chmod sets the mode of a file or directory that is no link and syncs it.
func (d *Disk) Chmod(path string, mode fs.FileMode) error {
	return d.onFile("chmod", path, func(f *os.File) error { return f.Chmod(mode) })
}

// ChownRoot gives a file or directory that is no link to root:wheel (0:0) and
// syncs it.
func (d *Disk) ChownRoot(path string) error {
	return d.onFile("chown", path, func(f *os.File) error { return f.Chown(0, 0) })
}

// ChownGroup gives a file or directory that is no link to that group, where
// Chown is set, and syncs it. Its owner stays.
func (d *Disk) ChownGroup(path string, gid int) error {
	if !d.Chown || gid < 0 {
		return nil
	}
	return d.onFile("chown", path, func(f *os.File) error { return f.Chown(-1, gid) })
}

func (d *Disk) onFile(op, path string, change func(*os.File) error) error {
	if err := d.point(op, path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := change(f); err != nil {
		return err
	}
	return f.Sync()
}

// SyncDir makes the entries of a directory durable: fsync(2) on its descriptor.
func (d *Disk) SyncDir(path string) error {
	if err := d.point("syncdir", path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("fsync %s: %w", path, err)
	}
	return nil
}
