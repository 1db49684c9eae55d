package durable

import (
	"errors"
	"path/filepath"
)

// Values of Step.Was beside the hexadecimal SHA-256 of a regular file and linkTo.
const (
	liesNothing = "none"
	liesOther   = "other" // a directory, a special file, or more than can be staged
)

func linkTo(text string) string { return "link:" + text }

// lies returns what is at DIR/name itself, as a value for Step.Was. It does not follow a link.
func (s *Set) lies(name string) (string, error) {
	path := filepath.Join(s.dir, name)
	switch n := Look(path); n.Kind {
	case Missing:
		return liesNothing, nil
	case Link:
		if n.Target == "" {
			return "", n.Err
		}
		return linkTo(n.Target), nil
	case File:
		n = Read(path, maxStaged)
		if errors.Is(n.Err, ErrTooLarge) || errors.Is(n.Err, ErrNotRegular) {
			return liesOther, nil
		}
		if n.Err != nil {
			return "", n.Err
		}
		if !n.Exists {
			return liesNothing, nil
		}
		return hexSum(n.Data), nil
	case Unknown:
		return "", n.Err
	}
	return liesOther, nil
}

// survey examines everything that a committed change still needs, and changes nothing. It returns the steps that are
// left to be carried out. givenUp means that the change cannot be finished: no step is left then, the files stay as
// they are, and the next look decides again. For each step:
//
//   - Its result is in place: the step is done.
//   - Its staged file is present, and the place is empty or has what the step was to replace: the step is left.
//   - Its staged file is present, and another program has put something else into the place: given up.
//   - Its staged file is missing or damaged, and the place has what was there before: a power failure has lost the
//     staged file before the commit was durable, or another program has undone the step: given up.
//   - Its staged file is missing and the place has something else: the step was done, and another program has replaced
//     the result. The next look decides about that. Only if another step is still left, the change is given up.
//
// An error means that something could not be examined. The caller must not begin then.
func (s *Set) survey(steps []Step) (left []Step, givenUp bool, err error) {
	waiting, gone := false, false
	for _, st := range steps {
		here, err := s.lies(st.Name)
		if err != nil {
			return nil, false, err
		}
		// A rename destroys nothing where there is nothing, or what the change was to replace.
		free := here == st.Was || here == liesNothing || st.Was == "" && here != liesOther
		staged, err := s.isStaged(st)
		if err != nil {
			return nil, false, err
		}
		switch st.Op {
		case OpInstall:
			switch {
			case staged && (free || here == st.Digest):
				waiting = true
				left = append(left, st)
			case staged:
				givenUp = true
			case here == st.Digest:
			case here == st.Was: // the staged file is lost, and the step was not done
				givenUp = true
			default:
				gone = true
			}
		case OpLink:
			switch {
			case here == linkTo(st.Target):
			case free && (staged || st.Was == ""):
				left = append(left, st)
			case !staged && here == st.Was:
				givenUp = true
			}
		case OpRemove:
			if here != liesNothing && free {
				left = append(left, st)
			}
		}
	}
	if givenUp || gone && waiting {
		return nil, true, nil
	}
	return left, false, nil
}

// isStaged says whether the staging area has what a step needs.
func (s *Set) isStaged(st Step) (bool, error) {
	switch st.Op {
	case OpInstall:
		n := Read(s.stagedPath(st.Name), maxStaged)
		if errors.Is(n.Err, ErrTooLarge) || errors.Is(n.Err, ErrNotRegular) {
			return false, nil
		}
		return n.Err == nil && n.Exists && hexSum(n.Data) == st.Digest, n.Err
	case OpLink:
		n := Look(s.stagedPath(st.Name))
		if n.Kind == Link && n.Target == st.Target {
			return true, nil
		}
		return false, n.Err
	}
	return false, nil
}

// roll finishes a committed change, if there is one. givenUp says that it could not be finished, see survey.
func (s *Set) roll() (givenUp bool, err error) {
	j, there, err := s.readJournal()
	if err != nil {
		return false, err
	}
	if !there {
		return false, s.tidy()
	}
	left, givenUp, err := s.survey(j.Steps)
	if err != nil {
		return false, err
	}
	// The process that wrote the journal may have died before its entry was durable.
	unsynced := s.disk.SyncDir(s.staging())
	return givenUp, s.carryOut(left, j.Steps, unsynced)
}

// finish carries out the steps of a change that this process has just committed.
func (s *Set) finish(steps []Step, unsynced error) error {
	var left []Step
	for _, st := range steps {
		if st.Op != OpLink || st.Was != linkTo(st.Target) {
			left = append(left, st)
		}
	}
	return s.carryOut(left, steps, unsynced)
}

// carryOut carries out the steps in left. The journal stays until all steps are durable; unsynced is why the journal
// itself is not durable, and then it stays too.
func (s *Set) carryOut(left, all []Step, unsynced error) error {
	for _, st := range left {
		path, tmp := filepath.Join(s.dir, st.Name), s.stagedPath(st.Name)
		if st.Op == OpLink && st.Was == "" && Look(tmp).Kind == Missing { // a journal of version 1 does not stage links
			if err := s.disk.Symlink(st.Target, tmp); err != nil {
				return err
			}
		}
		if st.Op == OpInstall || st.Op == OpLink {
			if err := s.disk.Rename(tmp, path); err != nil {
				return err
			}
		}
	}
	// Directories of steps that were done earlier too: that process may have died before the fsync.
	var touched []string
	for _, st := range all {
		if dir := filepath.Dir(filepath.Join(s.dir, st.Name)); dir != s.dir && !contains(touched, dir) &&
			Look(dir).Kind != Missing {
			touched = append(touched, dir)
		}
	}
	touched = append(touched, s.dir)
	if err := s.syncAll(touched); err != nil {
		return err
	}
	removed := false
	for _, st := range left {
		if st.Op == OpRemove {
			if err := s.disk.Remove(filepath.Join(s.dir, st.Name)); err != nil {
				return err
			}
			removed = true
		}
	}
	if removed {
		if err := s.syncAll(touched); err != nil {
			return err
		}
	}
	if unsynced != nil {
		return unsynced
	}
	if err := s.disk.Remove(filepath.Join(s.staging(), journalName)); err != nil {
		return err
	}
	if names, err := Names(s.staging(), 1); err != nil || len(names) > 0 {
		return err
	}
	return s.disk.Remove(s.staging())
}

func (s *Set) syncAll(dirs []string) error {
	for _, dir := range dirs {
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
