package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// UnfinishedPath is the directory of a backup until it is complete.
func (a *Archive) UnfinishedPath(id string) string { return filepath.Join(a.dir, TempName(id)) }

// Unfinished returns the IDs of backups that a crash interrupted: directories that still have their temporary name. The
// files in them were still in their original place then, because mailcertd replaces a file only after its backup is
// complete. The caller must hold the lock of the set that is backed up, so that no other process is writing into them.
func (a *Archive) Unfinished() ([]string, error) {
	names, err := Names(a.dir, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		id, temporary := TempOf(name)
		if !temporary {
			continue
		}
		switch n := Look(filepath.Join(a.dir, name)); {
		case n.Kind == Unknown:
			return nil, n.Err
		case n.Kind == Directory:
			out = append(out, id)
		}
	}
	return out, nil
}

// RemoveUnfinished removes what a crash left of that backup; it is no error if nothing is left. A subdirectory in it
// was not made by mailcertd: it stays, and the error is that of rmdir(2).
func (a *Archive) RemoveUnfinished(id string) error {
	dir := a.UnfinishedPath(id)
	names, err := NamesNoFollow(dir, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		if Look(filepath.Join(dir, name)).Kind == Directory {
			continue
		}
		if err := a.disk.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := a.disk.Remove(dir); err != nil {
		return err
	}
	return a.disk.SyncDir(a.dir)
}

// TempOfManifest says whether a file in the directory of a backup is what an interrupted write of its manifest left.
func TempOfManifest(name string) bool { return name == TempName(manifestName) }

// Content returns the entries in the directory of a backup without a manifest, each with the hexadecimal SHA-256 of a
// regular file; "" for anything else, and for a file that is too large to be read.
func (a *Archive) Content(id string) ([]Archived, error) {
	dir := filepath.Join(a.dir, id)
	names, err := NamesNoFollow(dir, 0)
	if err != nil {
		return nil, err
	}
	var out []Archived
	for _, name := range names {
		f := Archived{Name: name}
		n := Look(filepath.Join(dir, name))
		if n.Kind == File {
			n = Read(n.Path, maxStaged)
		}
		switch {
		case n.Unread():
			return nil, n.Err
		case n.Kind == Missing:
			continue
		case n.Kind == File && n.Err == nil:
			f.Size, f.SHA256 = len(n.Data), hexSum(n.Data)
		}
		out = append(out, f)
	}
	return out, nil
}

// RemoveDamaged removes the directory of a backup without a manifest, if its content still is what was seen. Otherwise
// it removes nothing and returns an error.
func (a *Archive) RemoveDamaged(id string, seen []Archived) error {
	if g := a.manifest(id); g.Err != nil || !g.Damaged {
		return errors.Join(g.Err, errors.New(id+": has a manifest"))
	}
	now, err := a.Content(id)
	if err != nil {
		return err
	}
	if !sameFiles(seen, now) {
		return errors.New(id + ": another program is changing it, so it was not removed")
	}
	for _, f := range seen {
		if err := a.disk.Remove(filepath.Join(a.dir, id, f.Name)); err != nil {
			return err
		}
	}
	if err := a.disk.Remove(filepath.Join(a.dir, id)); err != nil {
		return err
	}
	return a.disk.SyncDir(a.dir)
}
