package durable

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
)

// stagingName is the staging area inside the directory it serves, so that
// every rename stays on one file system.
const stagingName = ".mailcertd"

// maxStaged bounds a staged file, in bytes.
const maxStaged = 16 << 20

// Set is a directory whose files change all together or not at all. Staging
// and journal lie in DIR/.mailcertd (0700). Nothing is opened until it is used.
type Set struct {
	disk *Disk
	dir  string // without links, where it exists
}

// OpenSet prepares a set for dir. A link at dir itself is followed once: the
// set is the directory it leads to.
func OpenSet(disk *Disk, dir string) *Set {
	if r := Look(dir).Resolved; r != "" {
		dir = r
	}
	return &Set{disk: disk, dir: dir}
}

func (s *Set) staging() string { return filepath.Join(s.dir, stagingName) }

// stagedPath flattens trust/x.pem, because the staging area has no folders.
func (s *Set) stagedPath(name string) string {
	return filepath.Join(s.staging(), strings.ReplaceAll(name, "/", "%"))
}

// Stage puts one file durably into the staging area, replacing an earlier one
// of that name: mkdir, open(O_EXCL, 0600), write, fchmod, fsync, rename, and
// fsync of the staging area.
func (s *Set) Stage(name string, data []byte, mode fs.FileMode) error {
	if err := s.disk.Mkdir(s.staging(), 0o700); err != nil {
		return fmt.Errorf("cannot stage %s: %w", name, err)
	}
	if err := s.disk.Replace(s.stagedPath(name), data, mode); err != nil {
		return fmt.Errorf("cannot stage %s: %w", name, err)
	}
	return nil
}

// Staged looks at a staged file and reads it.
func (s *Set) Staged(name string) Node {
	n := Read(s.stagedPath(name), maxStaged)
	if n.Kind == Missing && n.Err == nil {
		n.Err = &fs.PathError{Op: "open", Path: n.Path, Err: fs.ErrNotExist}
	}
	return n
}

// Unstage removes a staged file; one that is not there is no error.
func (s *Set) Unstage(name string) error {
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
	Damaged bool // a journal whose content makes no sense
	// Err is why it is not known whether a change is committed: the journal could not be read, or a newer version of
	// mailcertd wrote it. Nothing may be changed in the directory then.
	Err    error
	Staged []string // staged files, by name; the journal is not among them
	Empty  bool     // a staging area with nothing in it
}

// Pending looks at the staging area and changes nothing.
func (s *Set) Pending() (Pending, error) {
	var p Pending
	names, err := Names(s.staging(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return p, err
	}
	for _, name := range names {
		if name == journalName {
			switch _, err := s.readJournal(); {
			case err == nil:
				p.Journal = true
			case errors.Is(err, errDamaged):
				p.Damaged = true
			default:
				p.Err = err
			}
			continue
		}
		p.Staged = append(p.Staged, strings.ReplaceAll(name, "%", "/"))
	}
	sort.Strings(p.Staged)
	p.Empty = len(names) == 0
	return p, nil
}

// Recovered says what Recover did.
type Recovered struct {
	Finished  bool     // a committed change was rolled forward
	Abandoned bool     // a committed change was given up before its first step: a staged file was damaged
	Deleted   []string // staged files that no committed change needs
}

// Recover finishes a committed change and clears away everything else in the
// staging area but the files named in keep. It may be called at any time and
// any number of times.
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
		j, err := s.readJournal()
		if err != nil {
			return r, err
		}
		// The process that wrote it may have died, or failed, before the journal was durable.
		if err := s.disk.SyncDir(s.staging()); err != nil {
			return r, err
		}
		whole, err := s.whole(j.Steps)
		if err != nil {
			return r, err
		}
		if !whole {
			if err := s.disk.Remove(filepath.Join(s.staging(), journalName)); err != nil {
				return r, err
			}
			r.Abandoned = true
		} else if err := s.finish(j.Steps); err != nil {
			return r, err
		}
		r.Finished = whole
		if p, err = s.Pending(); err != nil {
			return r, err
		}
	}
	if p.Damaged { // never committed: the rename that makes a journal comes after its fsync
		if err := s.disk.Remove(filepath.Join(s.staging(), journalName)); err != nil {
			return r, err
		}
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
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
