package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The operations of a Step.
const (
	OpInstall = "install" // the staged file of that name is renamed to DIR/Name
	OpLink    = "link"    // DIR/Name becomes a symbolic link that says Target
	OpRemove  = "remove"  // DIR/Name is removed
)

// Step is one part of a change.
type Step struct {
	Op     string `json:"op"`
	Name   string `json:"name"`             // within the directory; may be trust/file
	Target string `json:"target,omitempty"` // OpLink
	Digest string `json:"digest,omitempty"` // OpInstall: hex SHA-256 of the content
}

// ErrCommitted says that a change failed after its commit: it is not undone,
// Recover finishes it.
var ErrCommitted = errors.New("the change is committed and will be finished at the next look")

const journalName = "journal"

// maxJournal bounds a journal, in bytes: a change with thousands of files has
// one of a megabyte. What could not be read again is not committed.
const maxJournal = 16 << 20

type journal struct {
	Version int    `json:"version"`
	Steps   []Step `json:"steps"`
	Sum     string `json:"sum"` // hex SHA-256 over the JSON of Steps
}

// Commit makes a change: every staged file takes its place, links are made,
// entries are removed. The order of the system calls is
//
//	journal: open(O_EXCL) write fsync, rename, fsync(staging)   ← the commit
//	for each install: rename(staging/x, x)
//	for each link: symlink(staging/x), rename(staging/x, x)
//	fsync(dir), and fsync(dir/trust) where it was touched
//	for each removal: unlink, then the same fsyncs again
//	unlink(journal), fsync(staging) or rmdir(staging) and fsync(dir)
//
// An error before the commit leaves the directory as it was; one after it is
// ErrCommitted. Nothing is ever written through a link: renames replace links.
func (s *Set) Commit(steps []Step) error {
	for _, st := range steps {
		if err := s.checkStep(st); err != nil {
			return err
		}
	}
	if err := s.disk.Mkdir(s.staging(), 0o700); err != nil {
		return err
	}
	for _, st := range steps { // a folder for trust files is no part of the change
		if st.Op != OpRemove && strings.Contains(st.Name, "/") {
			if err := s.disk.Mkdir(filepath.Join(s.dir, filepath.Dir(st.Name)), 0o755); err != nil {
				return err
			}
		}
	}
	body, err := json.Marshal(steps)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(journal{Version: 1, Steps: steps, Sum: hexSum(body)}, "", " ")
	if err != nil {
		return err
	}
	if len(data) > maxJournal {
		return fmt.Errorf("the change is too large, nothing was changed: its journal has %d bytes", len(data))
	}
	if err := s.disk.Replace(filepath.Join(s.staging(), journalName), data, 0o600); err != nil {
		return fmt.Errorf("cannot write the journal, nothing was changed: %w", err)
	}
	if err := s.finish(steps); err != nil {
		return fmt.Errorf("%w: %w", ErrCommitted, err)
	}
	return nil
}

// checkStep refuses what could not be finished once it is committed.
func (s *Set) checkStep(st Step) error {
	path := filepath.Join(s.dir, st.Name)
	if st.Name == "" || !filepath.IsLocal(st.Name) {
		return fmt.Errorf("%q is no name within the directory", st.Name)
	}
	switch n := Look(path); n.Kind {
	case Directory:
		return fmt.Errorf("%s: is a directory, no file can take its place", path)
	case File:
		if err := replaceable(path); err != nil {
			return err
		}
	}
	if dir := filepath.Dir(st.Name); dir != "." {
		if n := Look(filepath.Join(s.dir, dir)); n.Kind == Link {
			return fmt.Errorf("%s: is a link: nothing is written through it", n.Path)
		}
	}
	switch st.Op {
	case OpInstall:
		n := s.Staged(st.Name)
		if n.Err != nil {
			return n.Err
		}
		if hexSum(n.Data) != st.Digest {
			return fmt.Errorf("%s: is not what was staged", n.Path)
		}
	case OpLink, OpRemove:
	default:
		return fmt.Errorf("no such step: %q", st.Op)
	}
	return nil
}

// replaceable says whether a rename over a file would be refused: one with an
// immutable flag (chflags(1) schg, chattr(1) +i) answers EPERM to both.
func replaceable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("cannot be replaced (an immutable flag?): %w", err)
	}
	return nil // such as a mode that does not matter to a rename
}

// finish carries out committed steps; those that are done already are passed over.
func (s *Set) finish(steps []Step) error {
	var touched []string
	for _, st := range steps {
		path, tmp := filepath.Join(s.dir, st.Name), s.stagedPath(st.Name)
		// Also where the step is done already: who did it may have died before the fsync.
		if dir := filepath.Dir(path); dir != s.dir && !contains(touched, dir) && Look(dir).IsDir {
			touched = append(touched, dir)
		}
		switch st.Op {
		case OpInstall:
			if n := Look(tmp); n.Kind == Missing && n.Err == nil {
				if done := Read(path, maxStaged); done.Err == nil && hexSum(done.Data) == st.Digest {
					continue
				}
				return fmt.Errorf("%s: the interrupted change cannot be finished: its staged file is gone", path)
			}
			if err := s.disk.Rename(tmp, path); err != nil {
				return err
			}
		case OpLink:
			if n := Look(path); n.Kind == Link && n.Target == st.Target {
				continue
			}
			if Look(tmp).Kind != Missing {
				if err := s.disk.Remove(tmp); err != nil {
					return err
				}
			}
			if err := s.disk.Symlink(st.Target, tmp); err != nil {
				return err
			}
			if err := s.disk.Rename(tmp, path); err != nil {
				return err
			}
		}
	}
	touched = append(touched, s.dir)
	for _, dir := range touched {
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	removed := false
	for _, st := range steps {
		if path := filepath.Join(s.dir, st.Name); st.Op == OpRemove && Look(path).Kind != Missing {
			if err := s.disk.Remove(path); err != nil {
				return err
			}
			removed = true
		}
	}
	if removed {
		for _, dir := range touched {
			if err := s.disk.SyncDir(dir); err != nil {
				return err
			}
		}
	}
	if err := s.disk.Remove(filepath.Join(s.staging(), journalName)); err != nil {
		return err
	}
	return s.tidy()
}

// readJournal gives a journal that is whole, or an error.
func (s *Set) readJournal() (journal, error) {
	var j journal
	n := Read(filepath.Join(s.staging(), journalName), maxJournal)
	if n.Err != nil {
		return j, n.Err
	}
	if err := json.Unmarshal(n.Data, &j); err != nil {
		return j, fmt.Errorf("%s: %w", n.Path, err)
	}
	body, err := json.Marshal(j.Steps)
	if err != nil {
		return j, err
	}
	if j.Version != 1 || j.Sum != hexSum(body) {
		return j, fmt.Errorf("%s: version or checksum is wrong", n.Path)
	}
	return j, nil
}
