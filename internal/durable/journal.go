package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
//	for each link: symlink(staging/x)
//	journal: open(O_EXCL) write fsync, rename                   ← the commit
//	fsync(staging)
//	for each install and link: rename(staging/x, x)
//	fsync(dir), and fsync(dir/trust) where it was touched
//	for each removal: unlink, then the same fsyncs again
//	unlink(journal), fsync(staging) or rmdir(staging) and fsync(dir)
//
// An error before the commit leaves the directory as it was. One after it is
// ErrCommitted: from there only forward, and nothing needs room any more. Nothing is ever written through a link: renames replace links.
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
	for _, st := range steps { // now, because nothing after the commit may need room on the disk
		if st.Op == OpLink {
			if err := s.stageLink(st); err != nil {
				return fmt.Errorf("cannot stage %s, nothing was changed: %w", st.Name, err)
			}
		}
	}
	if committed, err := s.writeJournal(data); !committed {
		return fmt.Errorf("cannot write the journal, nothing was changed: %w", err)
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrCommitted, err)
	}
	if err := s.finish(steps); err != nil {
		return fmt.Errorf("%w: %w", ErrCommitted, err)
	}
	return nil
}

// stageLink makes a link in the staging area, in place of what an earlier attempt left there.
func (s *Set) stageLink(st Step) error {
	tmp := s.stagedPath(st.Name)
	if n := Look(tmp); n.Err != nil {
		return n.Err
	} else if n.Kind != Missing {
		if err := s.disk.Remove(tmp); err != nil {
			return err
		}
	}
	return s.disk.Symlink(st.Target, tmp)
}

// writeJournal writes the journal. From its rename on the change is committed, whatever fails afterwards: with an
// error and committed true, nothing has been renamed yet, and Recover must make the journal durable first.
func (s *Set) writeJournal(data []byte) (committed bool, err error) {
	path := filepath.Join(s.staging(), journalName)
	tmp := filepath.Join(s.staging(), tempName(journalName))
	if n := Look(path); n.Err != nil {
		return false, n.Err
	} else if n.Kind != Missing {
		return false, fmt.Errorf("%s: an earlier change has not been finished", path)
	}
	if err := s.disk.Remove(tmp); err != nil {
		return false, err
	}
	if err := s.disk.Create(tmp, data, 0o600); err != nil {
		_ = s.disk.Remove(tmp)
		return false, err
	}
	if err := s.disk.Rename(tmp, path); err != nil {
		// On an I/O error the system may have done it all the same: only an old name that is still there says no.
		if n := Look(tmp); n.Kind != Missing && n.Err == nil {
			_ = s.disk.Remove(tmp)
			return false, err
		}
		return true, err
	}
	return true, s.disk.SyncDir(s.staging())
}

// checkStep refuses what could not be finished once it is committed.
func (s *Set) checkStep(st Step) error {
	path := filepath.Join(s.dir, st.Name)
	if st.Name == "" || !filepath.IsLocal(st.Name) {
		return fmt.Errorf("%q is no name within the directory", st.Name)
	}
	switch n := Look(path); n.Kind {
	case Unknown:
		return n.Err
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

// progress is how far an install or link step has come.
type progress int

const (
	todo    progress = iota // its staged file is there
	done                    // it has taken its place
	lost                    // neither: it was done, and somebody has taken the file away or changed it since
	blocked                 // a directory has come in its way: no rename can succeed
	damaged                 // its staged file is not what was staged
)

// judge looks at one step and changes nothing. What cannot be looked at is an error.
func (s *Set) judge(st Step) (progress, error) {
	there := Look(filepath.Join(s.dir, st.Name))
	if there.Kind == Unknown {
		return todo, there.Err
	}
	tmp := Look(s.stagedPath(st.Name))
	if tmp.Kind == Unknown {
		return todo, tmp.Err
	}
	switch {
	case tmp.Kind != Missing && there.Kind == Directory:
		return blocked, nil
	case st.Op == OpLink && there.Kind == Link && there.Target == st.Target:
		return done, nil
	case st.Op == OpLink && tmp.Kind == Missing:
		return lost, nil
	case st.Op == OpLink && (tmp.Kind != Link || tmp.Target != st.Target):
		return damaged, nil
	case st.Op == OpLink:
		return todo, nil
	}
	data := Read(tmp.Path, maxStaged)
	if tmp.Kind == Missing {
		data = Read(there.Path, maxStaged)
	}
	switch {
	case data.Err != nil && !errors.Is(data.Err, ErrNotRegular) && !errors.Is(data.Err, ErrTooLarge):
		return todo, data.Err
	case hexSum(data.Data) == st.Digest && data.Err == nil && data.Exists:
		if tmp.Kind == Missing {
			return done, nil
		}
		return todo, nil
	case tmp.Kind == Missing:
		return lost, nil
	}
	return damaged, nil
}

// whole looks at everything that a committed change needs, before its first rename. It is false when a staged file is
// damaged and nothing has been renamed yet: the change can be given up, and the old set stays as it is.
func (s *Set) whole(steps []Step) (bool, error) {
	begun, broken := false, false
	for _, st := range steps {
		if st.Op == OpRemove {
			continue
		}
		p, err := s.judge(st)
		if err != nil {
			return false, err
		}
		begun = begun || p == done || p == lost
		broken = broken || p == damaged
	}
	return begun || !broken, nil
}

// finish carries out committed steps. Those that are done already are passed over, and so are those that cannot be
// done any more, because somebody took the file away after it was installed, or put a directory in its place: the next
// look at the directory sees what is missing.
func (s *Set) finish(steps []Step) error {
	var touched []string
	for _, st := range steps {
		path := filepath.Join(s.dir, st.Name)
		// Also where the step is done already: who did it may have died before the fsync.
		if dir := filepath.Dir(path); dir != s.dir && !contains(touched, dir) && Look(dir).IsDir {
			touched = append(touched, dir)
		}
		if st.Op == OpRemove {
			continue
		}
		p, err := s.judge(st)
		if err != nil {
			return err
		}
		if p == todo {
			if err := s.disk.Rename(s.stagedPath(st.Name), path); err != nil {
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
		path := filepath.Join(s.dir, st.Name)
		if n := Look(path); st.Op == OpRemove && n.Kind != Missing && n.Kind != Directory {
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

// errDamaged says that a journal was read and makes no sense. The rename that makes a journal comes after its fsync:
// only a damaged disk or a person does that.
var errDamaged = errors.New("the journal is damaged")

// readJournal gives a journal that is whole, or an error: errDamaged, or the reason why it could not be read.
func (s *Set) readJournal() (journal, error) {
	var j journal
	n := Read(filepath.Join(s.staging(), journalName), maxJournal)
	switch {
	case n.Err != nil:
		return j, n.Err
	case n.Kind == Missing:
		return j, &fs.PathError{Op: "open", Path: n.Path, Err: fs.ErrNotExist}
	}
	var v struct{ Version int }
	if err := json.Unmarshal(n.Data, &v); err == nil && v.Version > 1 {
		return j, fmt.Errorf("%s: it has version %d: a newer mailcertd began this change; run that version to finish it", n.Path, v.Version)
	}
	if err := json.Unmarshal(n.Data, &j); err != nil {
		return j, fmt.Errorf("%w: %s: %w", errDamaged, n.Path, err)
	}
	body, err := json.Marshal(j.Steps)
	if err != nil {
		return j, err
	}
	if j.Version != 1 || j.Sum != hexSum(body) {
		return j, fmt.Errorf("%w: %s: its version or its checksum is wrong", errDamaged, n.Path)
	}
	return j, nil
}
