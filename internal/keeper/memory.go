package keeper

import "mailcertd/internal/state"

// loadState is what is remembered: by the file, or by this process where the
// file could not be written. A file that could not be read for once is read again
// at the next look, and what came in between is put on top of it.
func (k *Keeper) loadState() (state.State, state.Loaded) {
	s, l := state.Load(k.cfg.State.Dir)
	k.unread = l.Unread
	switch {
	case k.memory == nil:
	case k.apart && !l.Unread:
		joined := state.Join(s, *k.memory)
		k.memory, k.apart = &joined, false
		s = joined.Clone()
	default:
		s = k.memory.Clone()
	}
	return s, l
}
