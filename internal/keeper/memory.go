package keeper

import (
	"context"
	"fmt"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// stateFile keeps the state: in the file in the state directory, and in memory where the file cannot be read or
// written. It belongs to the loop and has no lock of its own; every write of the file happens under the lock on the
// certs directory.
type stateFile struct {
	*base
	// memory is a state that could not be written; nil means that the file is up to date.
	memory *state.State
	// heldBack is the state of a run that is not finished, see holdBack; nil means that nothing waits to be written.
	heldBack *state.State
	// unread says that the state file could not be read at the last look. apart says that memory was begun without
	// knowing what the file contains.
	unread, apart bool
	unreadErr     error // why the file could not be read
	// stateErr is why the last write of the state failed; nil means that it succeeded.
	stateErr error
}

// loadState returns the state: from the file, or from memory if the last write failed. A file that could not be read
// once is read again at the next look, and the changes made meanwhile are then joined with it.
func (f *stateFile) loadState() (state.State, state.Loaded) {
	s, l := state.Load(f.cfg.State.Dir)
	f.unread, f.unreadErr = l.Unread, l.Problem
	switch {
	case f.heldBack != nil:
		s = f.heldBack.Clone()
	case f.memory == nil:
	case f.apart && !l.Unread:
		joined := state.Join(s, *f.memory)
		f.memory, f.apart = &joined, false
		s = joined.Clone()
	default:
		s = f.memory.Clone()
	}
	return s, l
}

// holdBack keeps a new state in memory until the next write. A write comes before anything that must be known after a
// crash, such as a pending pickup, and at the end of a run. A crash before the write loses only what the next look
// finds out again. It saves a write and its syncs for each step.
func (f *stateFile) holdBack(before, after state.State) {
	if f.heldBack == nil && after.Equal(before) {
		return
	}
	s := after.Clone()
	f.heldBack = &s
}

// writeHeldBack writes the held-back state of a run that ends early.
func (f *stateFile) writeHeldBack() {
	if f.heldBack != nil {
		f.remember(*f.heldBack, *f.heldBack)
	}
}

// remember writes the state if it has changed. If that fails, the state is kept in memory, the next change tries the
// disk again, and every look until then reports the error. So most callers ignore the error; only a caller that stores
// a person's choice must return it.
func (f *stateFile) remember(before, after state.State) error {
	if after.Equal(before) && f.memory == nil && f.heldBack == nil {
		return nil
	}
	f.heldBack = nil
	if f.unread { // the content of the file is not known, so it must not be overwritten
		f.apart = f.apart || f.memory == nil
		m := after.Clone()
		f.memory = &m
		return fmt.Errorf("the state file cannot be read now: %w", f.unreadErr)
	}
	if err := state.Save(f.o.Disk, f.cfg.State.Dir, after); err != nil {
		if f.memory == nil {
			f.log(Warn, "the state file cannot be written, and what it should remember is lost when this process ends",
				"reason", string(plan.StateUnwritable), "error", err.Error())
		}
		m := after.Clone()
		f.memory, f.stateErr = &m, err
		return err
	}
	f.memory, f.stateErr = nil, nil
	return nil
}

// change takes the lock and lets edit change the state. The next look reports its error too, so callers may ignore it.
func (f *stateFile) change(ctx context.Context, edit func(*state.State)) error {
	lock, err := f.lock(ctx)
	if err != nil {
		f.log(Warn, "the state cannot be written", "error", err.Error())
		return err
	}
	defer lock.Unlock()
	before, _ := f.loadState()
	after := before.Clone()
	edit(&after)
	return f.remember(before, after)
}
