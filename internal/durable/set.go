package durable

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// stagingName is the staging area. It is inside the directory of the set, so that every rename stays on one file
// system.
const stagingName = ".mailcertd"

// maxStaged bounds a staged file, in octets.
const maxStaged = 16 << 20

// Set is a directory whose files change all together or not at all. Its staging area and journal are in DIR/.mailcertd
// (0700).
type Set struct {
	disk *Disk
	dir  string // without links in it, if it exists
}

// OpenSet returns the set in dir, and opens nothing. If dir is a link, the set is the directory that it leads to now.
func OpenSet(disk *Disk, dir string) *Set {
	if r := Look(dir).Located().Resolved; r != "" {
		dir = r
	}
	return &Set{disk: disk, dir: dir}
}

func (s *Set) staging() string { return filepath.Join(s.dir, stagingName) }

// stagedPath replaces the slash in trust/x.pem, because the staging area has no subdirectories.
func (s *Set) stagedPath(name string) string {
	return filepath.Join(s.staging(), strings.ReplaceAll(name, "/", "%"))
}

// area says whether the staging area exists. It is an error if something else than a directory, such as a link, has its
// name.
func (s *Set) area() (there bool, err error) {
	switch n := Look(s.staging()); n.Kind {
	case Missing:
		return false, nil
	case Directory:
		return true, nil
	case Unknown:
		return false, n.Err
	default:
		return false, fmt.Errorf("%s: is a %s, but mailcertd needs a directory of this name: move it away",
			n.Path, n.Kind)
	}
}

func (s *Set) makeStaging() error {
	if _, err := s.area(); err != nil {
		return err
	}
	return s.disk.Mkdir(s.staging(), 0o700)
}

// idle returns ErrUnfinished while a committed change is not finished, which may still need the staged files.
func (s *Set) idle() error {
	n := Look(filepath.Join(s.staging(), journalName))
	if n.Err != nil {
		return n.Err
	}
	if n.Kind != Missing {
		return fmt.Errorf("%s: %w", s.dir, ErrUnfinished)
	}
	return nil
}

// Stage writes one file durably into the staging area, and replaces an earlier one of that name: mkdir, open(O_EXCL,
// 0600), write, fchmod, fsync, rename, and fsync of the staging area.
func (s *Set) Stage(name string, data []byte, mode fs.FileMode) error {
	err := s.idle()
	if err == nil {
		err = s.makeStaging()
	}
	if err == nil {
		err = s.disk.Replace(s.stagedPath(name), data, mode)
	}
	if err != nil {
		return fmt.Errorf("cannot stage %s: %w", name, err)
	}
	return nil
}

// Lay writes one file of a change into the staging area, and replaces an earlier one of that name: open(O_EXCL, 0600),
// write, fchmod, fsync. Its entry becomes durable only with the Commit of the change.
func (s *Set) Lay(name string, data []byte, mode fs.FileMode) error {
	err := s.idle()
	if err == nil {
		err = s.makeStaging()
	}
	if err == nil {
		err = s.disk.Remove(s.stagedPath(name))
	}
	if err == nil {
		err = s.disk.Create(s.stagedPath(name), data, mode)
	}
	if err != nil {
		return fmt.Errorf("cannot stage %s: %w", name, err)
	}
	return nil
}

// Staged reads a staged file. The error of a missing one is fs.ErrNotExist.
func (s *Set) Staged(name string) Node {
	n := Read(s.stagedPath(name), maxStaged)
	if n.Kind == Missing && n.Err == nil {
		n.Err = &fs.PathError{Op: "open", Path: n.Path, Err: fs.ErrNotExist}
	}
	return n
}

// Unstage removes a staged file; it is no error if there is none. The error is ErrUnfinished while a committed change
// may need it.
func (s *Set) Unstage(name string) error {
	if err := s.idle(); err != nil {
		return err
	}
	if err := s.disk.Remove(s.stagedPath(name)); err != nil {
		return err
	}
	return s.tidy()
}

// tidy syncs the staging area, and removes it when it is empty.
func (s *Set) tidy() error {
	names, err := Names(s.staging(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if len(names) > 0 {
		return s.disk.SyncDir(s.staging())
	}
	if err := s.disk.Remove(s.staging()); err != nil {
		return err
	}
	return s.disk.SyncDir(s.dir)
}

// Pending is what an interrupted change has left.
type Pending struct {
	Journal bool // there is a complete journal: the change is committed and must be finished
	Damaged bool // the journal is not what was written, see Recover
	// Err is why it is not known whether a change is committed: the journal could not be read, or a newer mailcertd
	// wrote it. Nothing in the directory may be changed then. The other fields are empty.
	Err    error
	Staged []string // staged files and links, by name; the journal is not among them
	Empty  bool     // a staging area with nothing in it
}

// Pending examines the staging area and changes nothing. It is an error if the staging area is not a directory.
// Subdirectories in it are not ours, and are ignored.
func (s *Set) Pending() (Pending, error) {
	var p Pending
	if there, err := s.area(); err != nil || !there {
		return p, err
	}
	names, err := Names(s.staging(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return p, err
	}
	for _, name := range names {
		if name == journalName {
			_, there, err := s.readJournal()
			if p.Damaged = errors.Is(err, errTorn); err != nil && !p.Damaged {
				return Pending{Err: err}, nil
			}
			p.Journal = there && err == nil
			continue
		}
		n := Look(filepath.Join(s.staging(), name))
		if n.Kind == Unknown {
			return Pending{}, n.Err
		}
		if n.Kind != Directory && n.Kind != Missing {
			p.Staged = append(p.Staged, strings.ReplaceAll(name, "%", "/"))
		}
	}
	sort.Strings(p.Staged)
	p.Empty = len(names) == 0
	return p, nil
}

// Recovered says what Recover did.
type Recovered struct {
	Finished  bool     // a committed change was finished
	Abandoned bool     // the rest of a committed change was given up, because another program changed the directory
	Dropped   bool     // a damaged journal was removed
	Deleted   []string // staged files that no committed change needs
}

// Recover finishes a committed change and removes everything else in the staging area except the files named in keep.
// It may be called at any time and any number of times.
//
// A journal whose checksum is wrong is removed. A crash does not make one, because the journal is synced before it gets
// its name; a damaged disk or a person has changed it. Its steps are not known, so the next look decides again from the
// files that exist.
func (s *Set) Recover(keep ...string) (Recovered, error) {
	var r Recovered
	p, err := s.Pending()
	if err != nil {
		return r, err
	}
	if p.Err != nil {
		return r, p.Err
	}
	if p.Journal {
		if r.Abandoned, err = s.roll(); err != nil {
			return r, err
		}
		r.Finished = !r.Abandoned
		if p, err = s.Pending(); err != nil {
			return r, err
		}
	}
	if p.Damaged {
		if err := s.disk.Remove(filepath.Join(s.staging(), journalName)); err != nil {
			return r, err
		}
		r.Dropped = true
	}
	for _, name := range p.Staged {
		if contains(keep, name) {
			continue
		}
		if err := s.disk.Remove(s.stagedPath(name)); err != nil {
			return r, err
		}
		r.Deleted = append(r.Deleted, name)
	}
	return r, s.tidy()
}

func contains(names []string, name string) bool {
	return slices.Contains(names, name)
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
