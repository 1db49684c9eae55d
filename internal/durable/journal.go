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
	OpLink    = "link"    // DIR/Name becomes a symbolic link with the text Target
	OpRemove  = "remove"  // DIR/Name is removed
)

// Step is one part of a change.
type Step struct {
	Op     string `json:"op"`
	Name   string `json:"name"`             // within the directory; may be trust/file
	Target string `json:"target,omitempty"` // OpLink
	Digest string `json:"digest,omitempty"` // OpInstall: hex SHA-256 of the content
	// Was is what was at DIR/Name when the change was committed, see lies. Commit sets it; it is "" in a journal of
	// version 1.
	Was string `json:"was,omitempty"`
}

// ErrCommitted says that a change failed after its commit. It is not undone: Recover finishes it. The caller must not
// delete what was staged.
var ErrCommitted = errors.New("the change is committed and will be finished at the next look")

// ErrUnfinished says that another change is committed but not finished. Recover must finish it first.
var ErrUnfinished = errors.New("an interrupted change must be finished first: run `mailcertd ensure`")

// ErrNewerJournal says that a newer version of mailcertd was interrupted in a change, which this version cannot finish.
var ErrNewerJournal = errors.New(
	"a newer version of mailcertd was interrupted in a change here: run `mailcertd ensure` of that version; nothing " +
		"is changed until then")

const journalName = "journal"

// journalVersion is the version that is written. Version 1, without Was, can be read too.
const journalVersion = 2

// maxJournal bounds a journal, in octets. A change of thousands of files has a journal of a megabyte.
const maxJournal = 16 << 20

type journal struct {
	Version int    `json:"version"`
	Steps   []Step `json:"steps"`
	Sum     string `json:"sum"` // hex SHA-256 over the JSON of Steps
}

// Commit makes a change: it renames every staged file to its name, makes links and removes entries. The order of the
// system calls is
//
//	for each link: symlink(staging/x)
//	journal: open(O_EXCL) write fsync, rename, fsync(staging)   ← the commit
//	for each install and link: rename(staging/x, x)
//	fsync(dir), and fsync(dir/trust) where it was touched
//	for each removal: unlink, then the same fsyncs again
//	unlink(journal), and rmdir(staging) where it is empty
//
// One fsync of the staging area makes the journal and all that it needs durable. A power failure before it may keep the
// journal and lose a staged file: survey notices that, and the change is given up. The end needs no fsync: if a power
// failure brings the journal back, every step is done already.
//
// The steps after the rename of the journal need no free space on the disk. An error before it leaves the directory as
// it was. An error after it is ErrCommitted: the change is never undone, even if the rename may not be durable. Nothing
// is written through a link: renames replace links.
func (s *Set) Commit(steps []Step) error {
	data, steps, err := s.prepare(steps)
	if err != nil {
		return err
	}
	path := filepath.Join(s.staging(), journalName)
	if err := s.writeJournal(path, data); err != nil {
		return fmt.Errorf("cannot write the journal, and nothing was changed: %w", err)
	}
	unsynced := s.disk.SyncDir(s.staging())
	if unsynced != nil {
		unsynced = s.disk.SyncDir(s.staging())
	}
	err = s.finish(steps, unsynced)
	if err == nil {
		return nil
	}
	if _, again := s.roll(); again == nil { // the cause was temporary, such as too many open files
		return nil
	}
	return fmt.Errorf("%w: %w", ErrCommitted, err)
}

// prepare does everything that can fail because the disk is full, and returns the text of the journal.
func (s *Set) prepare(steps []Step) ([]byte, []Step, error) {
	if err := s.idle(); err != nil {
		return nil, nil, err
	}
	steps = append([]Step(nil), steps...)
	for i := range steps {
		if err := s.checkStep(&steps[i]); err != nil {
			return nil, nil, err
		}
	}
	if err := s.makeStaging(); err != nil {
		return nil, nil, err
	}
	for _, st := range steps {
		if st.Op != OpRemove && strings.Contains(st.Name, "/") { // an empty directory harms nothing if the change fails
			if err := s.disk.Mkdir(filepath.Join(s.dir, filepath.Dir(st.Name)), 0o755); err != nil {
				return nil, nil, err
			}
		}
		if st.Op != OpLink || st.Was == linkTo(st.Target) {
			continue
		}
		tmp := s.stagedPath(st.Name)
		if err := s.disk.Remove(tmp); err != nil {
			return nil, nil, err
		}
		if err := s.disk.Symlink(st.Target, tmp); err != nil {
			return nil, nil, err
		}
	}
	body, err := json.Marshal(steps)
	if err != nil {
		return nil, nil, err
	}
	data, err := json.MarshalIndent(journal{Version: journalVersion, Steps: steps, Sum: hexSum(body)}, "", " ")
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxJournal {
		return nil, nil,
			fmt.Errorf("the change is too large, and nothing was changed: its journal has %d bytes", len(data))
	}
	return data, steps, nil
}

// writeJournal writes the journal and renames it to its name. After an error there is no journal, as far as lstat(2)
// can tell.
func (s *Set) writeJournal(path string, data []byte) error {
	tmp := filepath.Join(s.staging(), TempName(journalName))
	if err := s.disk.Remove(tmp); err != nil {
		return err
	}
	if err := s.disk.Create(tmp, data, 0o600); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	err := s.disk.Rename(tmp, path)
	if err == nil || Look(path).Kind != Missing { // the rename may have been carried out although it failed
		return nil
	}
	_ = os.Remove(tmp)
	return err
}

// checkStep returns an error for a step that could not be finished after the commit, and sets st.Was.
func (s *Set) checkStep(st *Step) (err error) {
	path := filepath.Join(s.dir, st.Name)
	if st.Name == "" || !filepath.IsLocal(st.Name) {
		return fmt.Errorf("%q is not a file name in the directory", st.Name)
	}
	if dir := filepath.Dir(st.Name); dir != "." {
		if n := Look(filepath.Join(s.dir, dir)); n.Kind == Link {
			return fmt.Errorf("%s: is a symbolic link, and mailcertd does not write through it", n.Path)
		} else if n.Err != nil {
			return n.Err
		}
	}
	if st.Was, err = s.lies(st.Name); err != nil {
		return err
	}
	switch n := Look(path); n.Kind {
	case Unknown:
		return n.Err
	case Directory:
		return fmt.Errorf("%s: is a directory, and a file cannot replace it", path)
	case File:
		if err := replaceable(path); err != nil {
			return err
		}
	}
	switch st.Op {
	case OpInstall:
		n := s.Staged(st.Name)
		if n.Err != nil {
			return n.Err
		}
		if hexSum(n.Data) != st.Digest {
			return fmt.Errorf("%s: differs from what was staged", n.Path)
		}
	case OpLink, OpRemove:
	default:
		return fmt.Errorf("no such step: %q", st.Op)
	}
	return nil
}

// replaceable returns an error where a rename over the file would fail: a file with an immutable flag (chflags(1) schg,
// chattr(1) +i) returns EPERM for both open and rename.
func replaceable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("cannot be replaced (check for an immutable flag with `ls -lo`): %w", err)
	}
	return nil // a rename does not need the permission to open the file
}

// errTorn says that the content of a journal is not what was written.
var errTorn = errors.New("differs from what was written")

// readJournal reads the journal; there is false where there is none. The error is errTorn for a damaged one; after any
// other error it is not known whether a change is committed.
func (s *Set) readJournal() (j journal, there bool, err error) {
	n := Read(filepath.Join(s.staging(), journalName), maxJournal)
	if n.Err != nil {
		return j, false, n.Err
	}
	if !n.Exists {
		return j, n.Kind != Missing, nil
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(n.Data, &version); err != nil {
		return j, true, fmt.Errorf("%s: %w: %w", n.Path, errTorn, err)
	}
	if version.Version > journalVersion {
		return j, true, fmt.Errorf("%s: %w (version %d)", n.Path, ErrNewerJournal, version.Version)
	}
	if err := json.Unmarshal(n.Data, &j); err != nil {
		return j, true, fmt.Errorf("%s: %w: %w", n.Path, errTorn, err)
	}
	body, err := json.Marshal(j.Steps)
	if err != nil {
		return j, true, err
	}
	if j.Version < 1 || j.Sum != hexSum(body) {
		return j, true, fmt.Errorf("%s: %w: its version or checksum is wrong", n.Path, errTorn)
	}
	return j, true, nil
}
