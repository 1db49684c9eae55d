package keeper

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"syscall"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// Purged is one path that Purge removes, or leaves for the reason in Kept.
type Purged struct {
	Path string
	Kept string // why the path stays; "" means that it is removed

	// under lists what is removed together with a directory, files before the directories that contain them. Nothing
	// else below Path is removed.
	under []string
}

const notOurs = "mailcertd did not make it"

// marks are the files that identify a directory as ours. They are removed last, after the other removals are durable:
// if purge is interrupted, the next purge still finds them and knows that the rest is ours.
var marks = []string{durable.ManifestName, ca.MarkName, state.FileName}

// remnant lists what is in a directory of ours. If everything in it is to be removed, the list contains the directory
// alone, otherwise its parts. owns says whether a path relative to dir is ours. Links are never followed and never
// ours.
func remnant(dir string, owns func(rel string, dir bool) bool) ([]Purged, error) {
	_, out, err := remnantBelow(dir, "", owns)
	return out, err
}

func remnantBelow(dir, rel string, owns func(rel string, dir bool) bool) (whole bool, out []Purged, err error) {
	here := filepath.Join(dir, rel)
	names, err := durable.NamesNoFollow(here, 0)
	if err != nil {
		return false, nil, err
	}
	for _, mark := range marks {
		if i := slices.Index(names, mark); i >= 0 {
			names = append(slices.Delete(names, i, i+1), mark)
		}
	}
	whole = true
	var all []string
	for _, base := range names {
		name := filepath.Join(rel, base)
		path := filepath.Join(dir, name)
		n := durable.Look(path)
		switch {
		case n.Kind == durable.Missing:
		case n.Kind == durable.Unknown:
			return false, nil, n.Err
		case n.Kind == durable.Directory && owns(name, true):
			below, parts, err := remnantBelow(dir, name, owns)
			if err != nil {
				return false, nil, err
			}
			whole = whole && below
			out = append(out, parts...)
			for _, p := range parts {
				all = append(all, append(p.under, p.Path)...)
			}
		case n.Kind == durable.File && owns(name, false):
			out = append(out, Purged{Path: path})
			all = append(all, path)
		default:
			whole = false
			out = append(out, Purged{Path: path, Kept: notOurs})
		}
	}
	if whole {
		return true, []Purged{{Path: here, under: all}}, nil
	}
	return false, out, nil
}

// remove removes p and notes in touched the directories from which something was removed. If somebody has put a file
// into a directory meanwhile, the file and the directory stay. A directory where a file system is mounted stays too.
func (p Purged) remove(disk *durable.Disk, touched map[string]bool) error {
	for _, path := range append(p.under, p.Path) {
		if slices.Contains(marks, filepath.Base(path)) {
			if err := settle(disk, touched); err != nil {
				return err
			}
		}
		touched[filepath.Dir(path)] = true
		err := disk.Remove(path)
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) ||
			errors.Is(err, syscall.EBUSY) && durable.Look(path).Kind == durable.Directory {
			continue
		} else if err != nil {
			return fmt.Errorf("%w: the rest still exists; correct the cause and run purge again", err)
		}
	}
	return nil
}

// settle syncs these directories, so that a removed key does not come back after a loss of power. For a directory that
// was removed itself, the nearest one above it that still exists is synced.
func settle(disk *durable.Disk, touched map[string]bool) error {
	synced := map[string]bool{}
	for _, dir := range slices.Sorted(maps.Keys(touched)) {
		delete(touched, dir)
		for !durable.Look(dir).IsDir && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
		}
		if synced[dir] {
			continue
		}
		if err := disk.SyncDir(dir); err != nil {
			return fmt.Errorf("a loss of power may bring back removed files: %w; run purge again", err)
		}
		synced[dir] = true
	}
	return nil
}
