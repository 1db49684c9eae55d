package durable

import (
	"errors"
	"path/filepath"
)

// What is at a name, beside the hex SHA-256 of a regular file and linkTo.
const (
	liesNothing = "none"
	liesOther   = "other" // a directory, a special file, or more than can be staged
)

func linkTo(text string) string { return "link:" + text }

// lies says what is at DIR/name itself, without following a link there.
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

// survey looks at everything that a committed change still needs, and changes
// nothing. It returns the steps that are left to be carried out:
//
//   - a step whose result is there is done;
//   - a step whose staged file is gone, and in whose place lies neither its result nor
//     what was there before, was done, and another program has replaced the result since:
//     that is for the next look to see to;
//   - where a staged file is gone and its place is as it was before, or another step
//     still waits, a loss of power has taken it before the commit was durable, or
//     somebody is at work on these files;
//   - somebody may have put something else into the place of a step that is not done,
//     or have damaged what was staged.
//
// In the last two cases the change cannot become what was meant: what is left of it is
// given up, and what is there stays. The next look decides again.
//
// An error means that something could not be looked at: nothing is to be begun.
func (s *Set) survey(steps []Step) (left []Step, givenUp bool, err error) {
	waiting, gone := false, false
	for _, st := range steps {
		here, err := s.lies(st.Name)
		if err != nil {
			return nil, false, err
		}
		// Nothing of anybody is lost where nothing lies, or what was to be replaced.
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
			case here == st.Was: // it was never done, or undone
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

// isStaged says that the staging area holds what a step needs.
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

// roll goes on with a committed change, if there is one.
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
	// Who made the journal may have died before its entry was durable.
	unsynced := s.disk.SyncDir(s.staging())
	return givenUp, s.carryOut(left, j.Steps, unsynced)
}

// finish carries out steps that were just prepared and committed.
func (s *Set) finish(steps []Step, unsynced error) error {
	var left []Step
	for _, st := range steps {
		if st.Op != OpLink || st.Was != linkTo(st.Target) {
			left = append(left, st)
		}
	}
	return s.carryOut(left, steps, unsynced)
}

// carryOut does what is left of a committed change. The journal stays until
// everything is durable; unsynced is why it is not durable itself.
func (s *Set) carryOut(left, all []Step, unsynced error) error {
	for _, st := range left {
		path, tmp := filepath.Join(s.dir, st.Name), s.stagedPath(st.Name)
		if st.Op == OpLink && st.Was == "" && Look(tmp).Kind == Missing { // version 1 made them here
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
	// Also for steps that were done already: who did them may have died before the fsync.
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
