package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// UnfinishedPath is the folder of a backup until it is whole.
func (a *Archive) UnfinishedPath(id string) string { return filepath.Join(a.dir, TempName(id)) }

// Unfinished are the backups that a crash cut short, by ID: folders that never got their name. Nothing was
// replaced on the strength of such a copy, so what is in it lies, or lay then, where it was copied from. Whoever holds
// the lock of the set that is archived knows that nobody is at work in them.
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

// RemoveUnfinished removes what a crash left of that backup; what is not there is no error. A folder in it was not made
// by mailcertd: it stays, and is an error.
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

// TempOfManifest says that a file in the folder of a backup is what an interrupted write of its manifest left.
func TempOfManifest(name string) bool { return name == TempName(manifestName) }

// Content is what is in the folder of a backup that has no manifest: each entry, with the hex SHA-256 of a regular
// file. A digest of "" is something else, or more than is read.
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

// RemoveDamaged removes the folder of a backup that has no manifest, with these files of it, each only while its
// content is what was seen. Another entry in it is an error.
func (a *Archive) RemoveDamaged(id string, seen []Archived) error {
	if g := a.manifest(id); g.Err != nil || !g.Damaged {
		return errors.Join(g.Err, errors.New(id+": has a manifest"))
	}
	now, err := a.Content(id)
	if err != nil {
		return err
	}
	if !sameFiles(seen, now) {
		return errors.New(id + ": another program is changing it")
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
