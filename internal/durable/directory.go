package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mkdir makes one directory with exactly that mode and syncs its parent. It changes nothing where the directory exists,
// which is no error.
func (d *Disk) Mkdir(path string, mode fs.FileMode) error {
	made, err := d.makeDir(path, mode)
	if err != nil || !made {
		return err
	}
	if err = d.SyncDir(filepath.Dir(path)); err != nil {
		_ = os.Remove(path) // otherwise the next call would find it and never sync its parent
	}
	return err
}

// makeDir is Mkdir without the sync.
func (d *Disk) makeDir(path string, mode fs.FileMode) (made bool, err error) {
	if n := Look(path); n.IsDir {
		return false, nil
	} else if n.Err != nil {
		return false, n.Err
	} else if n.Kind == Link && !n.Exists { // mkdir(2) would only say "file exists"
		return false, fmt.Errorf("%s is a symbolic link to %s, which does not exist: mount or create it",
			path, n.Target)
	}
	if err := d.reach(Point{Op: "mkdir", Path: path, Mode: mode}); err != nil {
		return false, err
	}
	if err := os.Mkdir(path, mode.Perm()); err != nil { // with its mode, since nothing corrects it after a crash
		return false, err
	}
	if err := d.own(path, mode); err != nil {
		_ = os.Remove(path) // otherwise the next call would find it and never set its mode
		return false, err
	}
	return true, nil
}

// MkdirAll makes path with this mode, and the missing directories above it with 0755.
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

// MakeDirs is MkdirAll for directories that a power failure may remove until the next SyncDir of any directory, which
// syncs these too. It saves syncs where several directories have one parent.
func (d *Disk) MakeDirs(path string, mode fs.FileMode) error {
	if n := Look(path); n.IsDir {
		return nil
	} else if n.Err != nil {
		return n.Err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := d.MakeDirs(parent, 0o755); err != nil {
			return err
		}
	}
	made, err := d.makeDir(path, mode)
	if made {
		d.unsynced.Store(parent, true)
	}
	return err
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

// RemoveDir removes these files of a directory in this order, each with what an interrupted Replace left of it, and
// then the directory. Any other file in it is an error of rmdir(2). The parent is not synced.
func (d *Disk) RemoveDir(dir string, names ...string) error {
	for _, name := range names {
		for _, n := range []string{TempName(name), name} {
			if path := filepath.Join(dir, n); n == name || Look(path).Kind != Missing {
				if err := d.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	return d.Remove(dir)
}

// SyncDir makes the entries of a directory durable with fsync(2), and then those of all directories in which MakeDirs
// has made others.
func (d *Disk) SyncDir(path string) error {
	if err := d.SyncNewDir(path); err != nil {
		return err
	}
	var failed error
	d.unsynced.Range(func(dir, _ any) bool {
		if failed = d.SyncNewDir(dir.(string)); errors.Is(failed, fs.ErrNotExist) { // it was removed meanwhile
			d.unsynced.Delete(dir)
			failed = nil
		}
		return failed == nil
	})
	return failed
}

// SyncNewDir syncs only this directory. It is for one that is still to be renamed, with a SyncDir afterwards.
func (d *Disk) SyncNewDir(path string) error {
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
	d.unsynced.Delete(path)
	return nil
}

// Writable returns why this process cannot make a file in dir, by access(2): the file system is read-only, or the
// permissions or an immutable flag forbid it. nil is no promise, since the file system may be full.
func Writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}
