package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Former says whether there is a directory in which an older version of mailcertd has made backups. They are read and
// removed there like the others, until Move has moved them.
func (a *Backups) Former() bool { return a.former != "" && Look(a.former).IsDir }

// Move gives the former directory the present name. Where both exist, it moves each entry, under another name if its
// own is taken, and then removes the former directory. Nothing is overwritten, and a crash leaves each backup in one of
// the two directories. The caller must hold the lock of the set that is backed up.
func (a *Backups) Move() error {
	if !a.Former() {
		return nil
	}
	above := filepath.Dir(a.dir)
	if there := Look(a.dir); there.Err != nil {
		return there.Err
	} else if there.Kind == Missing {
		if err := a.disk.Rename(a.former, a.dir); err != nil {
			return err
		}
		return a.disk.SyncDir(above)
	}
	names, err := Names(a.former, 0)
	if err != nil {
		return err
	}
	for _, name := range names {
		to, err := a.free(name)
		if err != nil {
			return err
		}
		if err := a.disk.Rename(filepath.Join(a.former, name), to); err != nil {
			return err
		}
	}
	// The new place of an entry becomes durable before the old one is gone.
	for _, dir := range []string{a.dir, a.former} {
		if err := a.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := a.disk.Remove(a.former); err != nil {
		return err
	}
	return a.disk.SyncDir(above)
}

// free returns a path in the present directory for an entry of the former one.
func (a *Backups) free(name string) (string, error) {
	base, temporary := TempOf(name)
	to := filepath.Join(a.dir, name)
	for n := 2; ; n++ {
		switch there := Look(to); {
		case there.Kind == Unknown:
			return "", there.Err
		case there.Kind == Missing:
			return to, nil
		case temporary:
			to = filepath.Join(a.dir, TempName(fmt.Sprintf("%s-%02d", base, n)))
		default:
			to = filepath.Join(a.dir, fmt.Sprintf("%s-%02d", name, n))
		}
	}
}

// entry returns the path of an entry: in the former directory if that alone has it, otherwise in the present one.
func (a *Backups) entry(name string) string {
	here := filepath.Join(a.dir, name)
	if a.former == "" || Look(here).Kind != Missing {
		return here
	}
	if there := filepath.Join(a.former, name); Look(there).Kind != Missing {
		return there
	}
	return here
}

// names returns what is in one of the two directories; nothing where it does not exist.
func (a *Backups) names(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	names, err := Names(dir, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}
