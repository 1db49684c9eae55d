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

// stagingName is the staging area inside the directory it serves, so that
// every rename stays on one file system.
const stagingName = ".mailcertd"

// maxStaged bounds a staged file, in bytes.
const maxStaged = 16 << 20

// Set is a directory whose files change all together or not at all. Staging and journal are in DIR/.mailcertd (0700).
// Nothing is opened until it is used.
type Set struct {
	disk *Disk
	dir  string // without links, where it exists
}

// OpenSet prepares a set for dir. A link at dir itself is followed once: the
// set is the directory it leads to.
func OpenSet(disk *Disk, dir string) *Set {
	if r := Look(dir).Located().Resolved; r != "" {
		dir = r
	}
	return &Set{disk: disk, dir: dir}
}

func (s *Set) staging() string { return filepath.Join(s.dir, stagingName) }

// stagedPath flattens trust/x.pem, because the staging area has no folders.
func (s *Set) stagedPath(name string) string {
	return filepath.Join(s.staging(), strings.ReplaceAll(name, "/", "%"))
}

// area looks at the staging area: there is false when there is none. What is no
// directory, or a link to one, is an error: nothing can be staged there.
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

// idle refuses to touch what a committed change may still need.
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

// Stage puts one file durably into the staging area, replacing an earlier one
// of that name: mkdir, open(O_EXCL, 0600), write, fchmod, fsync, rename, and
// fsync of the staging area.
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

// Lay puts one file of a change into the staging area, replacing an earlier one of that name: open(O_EXCL, 0600),
// write, fchmod, fsync. Its name there is durable with the Commit of the change, and not before.
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

// Staged looks at a staged file and reads it. One that is missing is an error
// too, fs.ErrNotExist.
func (s *Set) Staged(name string) Node {
	n := Read(s.stagedPath(name), maxStaged)
	if n.Kind == Missing && n.Err == nil {
		n.Err = &fs.PathError{Op: "open", Path: n.Path, Err: fs.ErrNotExist}
	}
	return n
}

// Unstage removes a staged file; one that is not there is no error. What a
// committed change needs stays: ErrUnfinished.
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

// Pending is what an interrupted change left behind.
type Pending struct {
	Journal bool // a complete journal: the change is committed and must be finished
	Damaged bool // a journal that differs from what was written, see Recover
	// Err is why it is not known whether a change is committed: the journal could
	// not be read, or a newer mailcertd wrote it. Nothing in the directory may be
	// changed then; the other fields are empty.
	Err    error
	Staged []string // staged files and links, by name; the journal is not among them
	Empty  bool     // a staging area with nothing in it
}

// Pending looks at the staging area and changes nothing. A staging area that is no directory is an error. A directory
// in it is not ours, and is skipped.
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
	Finished  bool     // a committed change was rolled forward
	Abandoned bool     // what was left of it was given up: another program had changed the directory, see survey
	Dropped   bool     // a damaged journal was removed: what is in the directory is judged again
	Deleted   []string // staged files that no committed change needs
}

// Recover finishes a committed change and clears away everything else in the staging area but the files named in keep.
// It may be called at any time and any number of times.
//
// A journal whose checksum is wrong is dropped: it was synced before it got its name, so no crash of ours makes one,
// but a damaged disk or a person. What it wanted cannot be known, and the next look makes a whole set of what is there.
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
