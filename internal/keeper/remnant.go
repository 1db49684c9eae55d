package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// Purged is one thing that Purge removes, or leaves and why.
type Purged struct {
	Path string
	Kept string // "" when it is removed; else why it stays

	// under is what goes with a directory, files before the directories they are
	// in. Nothing else below Path is touched.
	under []string
}

const notOurs = "mailcertd did not make it"

// marks are the files that say that the rest is ours. They go last, and when it is durable that the rest is gone:
// purge may be interrupted, and is said again then.
var marks = []string{durable.ManifestName, ca.MarkName, state.FileName}

// remnant lists what is in a directory of ours: the directory alone when all of it is to go, and otherwise its parts.
// owns says what is ours, by paths relative to dir. Links are never followed, and are nobody's but a person's.
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

// remove does it, and notes in touched the directories of what it removed. What came into a directory meanwhile
// stays, and so does the directory then.
func (p Purged) remove(disk *durable.Disk, touched map[string]bool) error {
	for _, path := range append(p.under, p.Path) {
		if slices.Contains(marks, filepath.Base(path)) {
			if err := settle(disk, touched); err != nil {
				return err
			}
		}
		touched[filepath.Dir(path)] = true
		var pe *fs.PathError
		if err := disk.Remove(path); errors.As(err, &pe) && (pe.Err == syscall.ENOTEMPTY || pe.Err == syscall.EEXIST) {
			continue
		} else if err != nil {
			return fmt.Errorf("%w: the rest still exists; correct the cause and run purge again", err)
		}
	}
	return nil
}

// settle makes durable what was removed from these directories: a key that is gone must not come back with a loss of
// power. Of each that is gone too, the nearest one that stays is synced.
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
