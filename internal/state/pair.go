package state

import (
	"maps"
	"time"
)

// hostPair is the name of the pair whose values are in State itself and not in Pairs, as in the first versions.
const hostPair = "host"

// Pair is what must be remembered about one pair.
type Pair struct {
	// Hold is the Leaf ID of a restored certificate that stays until it is due.
	Hold string `json:"hold,omitempty"`
	// Mismatch identifies a key and a certificate that do not belong together, and says since when.
	Mismatch Seen `json:"mismatch"`
	// Key is the pki.KeyFingerprint of a staged key that waits for its certificate until At.
	Key string    `json:"key,omitempty"`
	At  time.Time `json:"at"`
}

// Pair returns what is remembered about the pair of that name; the zero value for nothing.
func (s State) Pair(name string) Pair {
	if name == hostPair {
		return Pair{Hold: s.Hold, Mismatch: s.Mismatch, Key: s.Member.Key, At: s.Member.At}
	}
	return s.Pairs[name]
}

// SetPair replaces what is remembered about the pair of that name; the zero value removes it.
func (s *State) SetPair(name string, p Pair) {
	if name == hostPair {
		s.Hold, s.Mismatch, s.Member.Key, s.Member.At = p.Hold, p.Mismatch, p.Key, p.At
		return
	}
	s.Pairs = maps.Clone(s.Pairs)
	if p == (Pair{}) {
		delete(s.Pairs, name)
		return
	}
	if s.Pairs == nil {
		s.Pairs = map[string]Pair{}
	}
	s.Pairs[name] = p
}
