package ca

// keySet is a set of serials by their hashes, each marked or not. A quarter to a half of its cells is in use, so it
// takes 18 to 36 octets for each serial.
type keySet struct {
	few    few
	cells  []hash // hash+1; 0: free
	marks  []bool
	size   int
	marked int
}

func (s *keySet) len() int { return s.size }

// cell is the index of the hash, or of the free cell where it would be. The set must have a free cell.
func (s *keySet) cell(h hash) int {
	last := len(s.cells) - 1 // a power of two, less one
	at := int(h) & last
	for s.cells[at] != 0 && s.cells[at] != h+1 {
		at = (at + 1) & last
	}
	return at
}

func (s *keySet) add(h hash) {
	if 2*(s.size+1) > len(s.cells) {
		old := s.cells
		s.cells, s.marks = make([]hash, max(64, 2*len(old))), make([]bool, max(64, 2*len(old)))
		for _, c := range old {
			if c != 0 {
				s.cells[s.cell(c-1)] = c
			}
		}
	}
	if at := s.cell(h); s.cells[at] == 0 {
		s.cells[at] = h + 1
		s.size++
		s.few.add(uint64(h))
	}
}

// mark marks those of the hashes that are in the set.
func (s *keySet) mark(hashes ...hash) {
	if s.size == 0 {
		return
	}
	for _, h := range hashes {
		if s.few.lacks(uint64(h)) {
			continue
		}
		if at := s.cell(h); s.cells[at] != 0 && !s.marks[at] {
			s.marks[at] = true
			s.marked++
		}
	}
}

// unmarked says whether the hash is in the set and not marked.
func (s *keySet) unmarked(h hash) bool {
	if s.few.lacks(uint64(h)) {
		return false
	}
	at := s.cell(h)
	return s.cells[at] != 0 && !s.marks[at]
}

// has says whether the hash is in the set.
func (s *keySet) has(h hash) bool { return !s.few.lacks(uint64(h)) && s.cells[s.cell(h)] != 0 }

func (s *keySet) allMarked() bool { return s.marked == s.size }

// few has a bit for each of some hashes. While these are at most some thousands, it says of nearly all others that they
// are not among them, from 4 KiB that stay in the processor's first cache: a table alone takes four times as long.
type few [1 << 9]uint64

func (f *few) add(hash uint64) { f[hash>>55] |= 1 << (hash >> 49 & 63) }

// lacks says that the hash was surely not added.
func (f *few) lacks(hash uint64) bool { return f[hash>>55]>>(hash>>49&63)&1 == 0 }

// lastHash is the greatest hash that a keySet can hold, since it stores a hash plus one.
const lastHash = 1<<64 - 2

// hash identifies a serial in a keySet and in a sieve.
type hash uint64

// hashOf spreads the bits of a serial's key over the whole hash, because serials that were counted up differ only in
// their last bits. Two keys have different hashes, except for the two that lastHash stands for.
func hashOf(key uint64) hash { return hash(min(mix(key), lastHash)) }

// mix is the finalizer of MurmurHash3.
func mix(k uint64) uint64 {
	k ^= k >> 33
	k *= 0xff51afd7ed558ccd
	k ^= k >> 33
	k *= 0xc4ceb9fe1a85ec53
	return k ^ k>>33
}

// sieve is a Bloom filter that says which serials may have occurred before, by their hashes. It sets eight bits for
// each, all in one cache line of the processor. With a million serials, the largest one says of hardly any that it
// occurred when it did not.
type sieve struct {
	lines [][8]uint64 // a power of two
	near  uint64      // the result of the prefetch in sift
}

// The sizes of a sieve, in lines of 64 octets: 1 KiB and 8 MiB, and the 2 MiB of one that is kept.
const (
	leastSieve = 1 << 4
	mostSieve  = 1 << 17
	keptSieve  = 1 << 15
)

// octetsOfRow is about the length of a row of index.txt.
const octetsOfRow = 60

// newSieve makes a sieve for an index.txt of that many octets.
func newSieve(octets int64) *sieve {
	lines := int64(leastSieve)
	for lines < mostSieve && lines < octets/512 {
		lines *= 2
	}
	return &sieve{lines: make([][8]uint64, lines)}
}

func (s *sieve) line(h hash) *[8]uint64 { return &s.lines[int(h>>40)&(len(s.lines)-1)] }

// bits are where a hash sets its eight bits: four in each of two words of its line.
func (s *sieve) bits(h hash) (a, b *uint64, inA, inB uint64) {
	line, g := s.line(h), uint64(h)*0x9e3779b97f4a7c15
	return &line[g>>48&7], &line[g>>51&7],
		uint64(1)<<(g&63) | 1<<(g>>6&63) | 1<<(g>>12&63) | 1<<(g>>18&63),
		uint64(1)<<(g>>24&63) | 1<<(g>>30&63) | 1<<(g>>36&63) | 1<<(g>>42&63)
}

// sift adds hashes, and appends to twice those that may have been added before. It first reads from the cache lines of
// all of them, so that the processor fetches many lines at the same time: that halves the time of a pass over a large
// index.txt.
func (s *sieve) sift(hashes, twice []hash) []hash {
	for _, h := range hashes {
		s.near |= s.line(h)[0] // without the result the compiler would remove the read
	}
	for _, h := range hashes {
		a, b, inA, inB := s.bits(h)
		if *a&inA == inA && *b&inB == inB {
			twice = append(twice, h)
		}
		*a |= inA
		*b |= inB
	}
	return twice
}

// never says that the hash was not added. If it returns false, the hash may have been.
func (s *sieve) never(h hash) bool {
	a, b, inA, inB := s.bits(h)
	return *a&inA != inA || *b&inB != inB
}

// folded is the sieve with at most keptSieve lines, for the daemon to keep: each of its lines has the bits of several.
// Of a million serials, it says of one in a thousand others that it may have been added.
func (s *sieve) folded() *sieve {
	if len(s.lines) <= keptSieve {
		return s
	}
	out := &sieve{lines: make([][8]uint64, keptSieve)}
	for i := range s.lines {
		for word, bits := range s.lines[i] {
			out.lines[i%keptSieve][word] |= bits
		}
	}
	return out
}

// serialsIn returns the serials of the certificates in the newcerts directory dir.
func serialsIn(dir string) (*keySet, error) {
	s := &keySet{}
	return s, eachSerial(dir, func(serial string) { s.add(hashOf(serialKey(serial))) })
}
