package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// UnfinishedPath is the directory of a backup until it is complete.
func (a *Backups) UnfinishedPath(id string) string { return a.entry(TempName(id)) }

// Unfinished returns the IDs of backups that a crash interrupted: directories that still have their temporary name. The
// files in them were still in their original place then, because mailcertd replaces a file only after its backup is
// complete. The caller must hold the lock of the set that is backed up, so that no other process is writing into them.
func (a *Backups) Unfinished() (out []string, failed error) {
	for _, dir := range []string{a.dir, a.former} {
		names, err := a.names(dir)
		failed = errors.Join(failed, err)
		for _, name := range names {
			id, temporary := TempOf(name)
			if !temporary {
				continue
			}
			switch n := Look(filepath.Join(dir, name)); n.Kind {
			case Unknown:
				failed = errors.Join(failed, n.Err)
			case Directory:
				out = append(out, id)
			}
		}
	}
	return out, failed
}

// RemoveUnfinished removes what a crash left of that backup; it is no error if nothing is left. A subdirectory in it
// was not made by mailcertd: it stays, and the error is that of rmdir(2).
func (a *Backups) RemoveUnfinished(id string) error {
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
	return a.disk.SyncDir(filepath.Dir(dir))
}

// TempOfManifest says whether a file in the directory of a backup is what an interrupted write of its manifest left.
func TempOfManifest(name string) bool { return name == TempName(ManifestName) }

// Content returns the entries in the directory of a backup without a manifest, each with the hexadecimal SHA-256 of a
// regular file; "" for anything else, and for a file that is too large to be read.
func (a *Backups) Content(id string) ([]Saved, error) {
	dir := a.entry(id)
	names, err := NamesNoFollow(dir, 0)
	if err != nil {
		return nil, err
	}
	var out []Saved
	for _, name := range names {
		f := Saved{Name: name}
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
func (a *Backups) RemoveDamaged(id string, seen []Saved) error {
	if g := a.manifest(id); g.Err != nil || !g.Damaged {
		return errors.Join(g.Err, errors.New(id+": has a manifest"))
	}
	dir := a.entry(id)
	now, err := a.Content(id)
	if err != nil {
		return err
	}
	if !sameFiles(seen, now) {
		return errors.New(id + ": another program is changing it, so it was not removed")
	}
	for _, f := range seen {
		if err := a.disk.Remove(filepath.Join(dir, f.Name)); err != nil {
			return err
		}
	}
	if err := a.disk.Remove(dir); err != nil {
		return err
	}
	return a.disk.SyncDir(filepath.Dir(dir))
}
