package ca

// keySet is a set of serialKey values, each marked or not. A quarter to a half of its cells is in use, so it takes 18
// to 36 octets for each value.
type keySet struct {
	cells  []uint64 // key+1; 0: free
	marks  []bool
	size   int
	marked int
}

func (s *keySet) len() int { return s.size }

// cell is the index of the key, or of the free cell where it would be. The set must have a free cell.
func (s *keySet) cell(key uint64) int {
	last := len(s.cells) - 1 // a power of two, less one
	at := int(mix(key)) & last
	for s.cells[at] != 0 && s.cells[at] != key+1 {
		at = (at + 1) & last
	}
	return at
}

func (s *keySet) add(key uint64) {
	if 2*(s.size+1) > len(s.cells) {
		old := s.cells
		s.cells, s.marks = make([]uint64, max(64, 2*len(old))), make([]bool, max(64, 2*len(old)))
		for _, k := range old {
			if k != 0 {
				s.cells[s.cell(k-1)] = k
			}
		}
	}
	if at := s.cell(key); s.cells[at] == 0 {
		s.cells[at] = key + 1
		s.size++
	}
}

func (s *keySet) mark(key uint64) {
	if s.size == 0 {
		return
	}
	if at := s.cell(key); s.cells[at] != 0 && !s.marks[at] {
		s.marks[at] = true
		s.marked++
	}
}

// markAll marks those of the keys that are in the set.
func (s *keySet) markAll(keys []uint64) {
	for _, key := range keys {
		s.mark(key)
	}
}

// unmarked says whether the key is in the set and not marked.
func (s *keySet) unmarked(key uint64) bool {
	if s.size == 0 {
		return false
	}
	at := s.cell(key)
	return s.cells[at] != 0 && !s.marks[at]
}

// has says whether the key is in the set.
func (s *keySet) has(key uint64) bool { return s.size > 0 && s.cells[s.cell(key)] != 0 }

func (s *keySet) allMarked() bool { return s.marked == s.size }

// mix spreads the bits of a key over the whole hash, because serials that were counted up differ only in their last
// bits. It is the finalizer of MurmurHash3.
func mix(k uint64) uint64 {
	k ^= k >> 33
	k *= 0xff51afd7ed558ccd
	k ^= k >> 33
	k *= 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}

// sieve is a Bloom filter that says which keys may have occurred before. It has eight bits for each key, all in one
// cache line of the processor. With a million keys, the largest one says of hardly any key that it occurred when it did
// not.
type sieve struct {
	lines [][8]uint64 // a power of two
	near  uint64      // the result of the prefetch in sift
}

// The sizes of a sieve, in lines of 64 octets: 1 KiB and 8 MiB.
const (
	leastSieve = 1 << 4
	mostSieve  = 1 << 17
)

// newSieve makes a sieve for an index.txt of that many octets. A row has about sixty octets.
func newSieve(octets int64) *sieve {
	lines := int64(leastSieve)
	for lines < mostSieve && lines < octets/512 {
		lines *= 2
	}
	return &sieve{lines: make([][8]uint64, lines)}
}

func (s *sieve) line(hash uint64) *[8]uint64 { return &s.lines[int(hash>>40)&(len(s.lines)-1)] }

// sift adds keys, and appends to twice those that may have been added before. It first reads from the cache lines of
// all keys, so that the processor fetches many of them at the same time: that halves the time of a pass over a large
// index.txt.
func (s *sieve) sift(keys []uint64, twice []uint64) []uint64 {
	for _, key := range keys {
		s.near |= s.line(mix(key))[0] // without the result the compiler would remove the read
	}
	for _, key := range keys {
		hash := mix(key)
		line, g := s.line(hash), hash*0x9e3779b97f4a7c15
		a, b := &line[g>>48&7], &line[g>>51&7]
		inA := uint64(1)<<(g&63) | 1<<(g>>6&63) | 1<<(g>>12&63) | 1<<(g>>18&63)
		inB := uint64(1)<<(g>>24&63) | 1<<(g>>30&63) | 1<<(g>>36&63) | 1<<(g>>42&63)
		if *a&inA == inA && *b&inB == inB {
			twice = append(twice, key)
		}
		*a |= inA
		*b |= inB
	}
	return twice
}

// bitmap tells which keys were never seen: each sets one bit, so that another key may have set it too. It takes 2 MiB
// at most, whatever the number of keys; of a million, a key that was never seen has a clear bit in 15 of 16 cases. It
// stays when the pass has ended; a sieve of 8 MiB would be too much for the daemon to keep.
type bitmap []uint64

// newBitmap is for an index.txt of that many octets: 16 bits for each row.
func newBitmap(octets int64) bitmap {
	words := 1 << 4
	for words < 1<<18 && int64(words) < octets/256 {
		words *= 2
	}
	return make(bitmap, words)
}

func (b bitmap) bit(key uint64) (word *uint64, bit uint64) {
	hash := mix(key)
	return &b[int(hash>>6)&(len(b)-1)], 1 << (hash & 63)
}

func (b bitmap) mark(keys ...uint64) {
	for _, key := range keys {
		word, bit := b.bit(key)
		*word |= bit
	}
}

// never says that the key was not marked. If it returns false, the key may have been.
func (b bitmap) never(key uint64) bool {
	word, bit := b.bit(key)
	return *word&bit == 0
}

// serialsIn returns the serials of the certificates in the newcerts directory dir.
func serialsIn(dir string) (*keySet, error) {
	s := &keySet{}
	return s, eachSerial(dir, func(serial string) { s.add(serialKey(serial)) })
}
