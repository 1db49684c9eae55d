package keeper

import (
	"context"
	"fmt"

	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// stateFile is what is remembered: the file in the state directory, and what replaces it where it cannot be read or
// written.
type stateFile struct {
	*base
	// memory is the state where it could not be written; nil: the disk has it.
	memory *state.State
	// heldBack is the state of a run that goes on, see holdBack; nil: all of it is written.
	heldBack *state.State
	// unread says that the state file could not be read at the last look; apart,
	// that memory began without knowing what the file says.
	unread, apart bool
	unreadErr     error // why
	// stateErr is why the state could not be written last; nil: it could.
	stateErr error
}

// loadState is what is remembered: by the file, or by this process where the
// file could not be written. A file that could not be read for once is read again
// at the next look, and what came in between is put on top of it.
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

// holdBack keeps what a step of a run has come to know until the next write of the state: before anything that must be
// known after a crash, such as that a pickup is pending, and at the end of the run. A crash in between forgets what the
// next look finds out again.
func (f *stateFile) holdBack(before, after state.State) {
	if f.heldBack == nil && after.Equal(before) {
		return
	}
	s := after.Clone()
	f.heldBack = &s
}

// writeHeldBack writes what a run that ends early has held back.
func (f *stateFile) writeHeldBack() {
	if f.heldBack != nil {
		f.remember(*f.heldBack, *f.heldBack)
	}
}

// remember writes the state when it differs. Where it cannot be written it is
// kept in memory, the disk is tried again at the next change, and the error is
// reported by every look until then. Only who keeps a person's choice needs it.
func (f *stateFile) remember(before, after state.State) error {
	if after.Equal(before) && f.memory == nil && f.heldBack == nil {
		return nil
	}
	f.heldBack = nil
	if f.unread { // what it says is not known: it is not written over
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

// change changes the state under the lock. Its error is reported by the next look,
// too.
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
