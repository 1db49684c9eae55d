package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
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

// remnant lists what lies in a directory of ours: the directory alone when all
// of it is to go, and otherwise its parts. owns says what is ours, by paths
// relative to dir. Links are never followed, and are nobody's but a person's.
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
	if i := slices.Index(names, ca.MarkName); i >= 0 {
		// What says that the rest is ours goes last: purge may be interrupted.
		names = append(slices.Delete(names, i, i+1), ca.MarkName)
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

// remove does it. What came into a directory meanwhile stays, and so does the
// directory then.
func (p Purged) remove(disk *durable.Disk) error {
	for _, path := range append(p.under, p.Path) {
		var pe *fs.PathError
		if err := disk.Remove(path); errors.As(err, &pe) && (pe.Err == syscall.ENOTEMPTY || pe.Err == syscall.EEXIST) {
			continue
		} else if err != nil {
			return fmt.Errorf("%w: the rest is still there; correct that and say purge again", err)
		}
	}
	return nil
}
