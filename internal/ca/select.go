package ca

import (
	"fmt"
	"sort"
)

// How many rows a selection keeps at first, and at most.
const (
	leastKept = 256
	mostKept  = 1 << 16
)

// kept is a row that a selection keeps.
type kept struct {
	expires int64
	n       int
	host    string // what hostOf says, for who asks
	text    string
	odd     *Entry
}

func valid(l *line) bool { return l.status == Valid }

// order says which of two ends comes first.
type order func(a, b int64) bool

func soonest(a, b int64) bool { return a < b }
func latest(a, b int64) bool  { return a > b }

// selection is the first most rows of those that were offered, in the order of their ends and then of their lines; with
// after, of those that come after that row. It holds twice as many at the most.
type selection struct {
	most   int
	before order
	after  *Entry
	rows   []kept
	full   bool
}

func (s *selection) less(a, b kept) bool {
	return s.before(a.expires, b.expires) || a.expires == b.expires && a.n < b.n
}

// offer says whether the row is kept for now.
func (s *selection) offer(l *line, host []byte) bool {
	if s.full { // nearly all rows end here
		if last := &s.rows[s.most-1]; s.before(last.expires, l.expires) || last.expires == l.expires && last.n <= l.n {
			return false
		}
	}
	k := kept{expires: l.expires, n: l.n}
	if s.after != nil && !s.less(kept{expires: s.after.Expires.Unix(), n: s.after.Line}, k) {
		return false
	}
	k.text, k.host, k.odd = string(l.text), string(host), l.odd
	if s.rows = append(s.rows, k); len(s.rows) == 2*s.most {
		s.cut()
	}
	return true
}

func (s *selection) cut() {
	sort.Slice(s.rows, func(i, j int) bool { return s.less(s.rows[i], s.rows[j]) })
	if len(s.rows) > s.most {
		s.rows, s.full = s.rows[:s.most], true
	}
}

// entries are the rows, once all were offered.
func (s *selection) entries() []Entry {
	s.cut()
	out := make([]Entry, len(s.rows))
	for i, k := range s.rows {
		l := line{n: k.n, text: []byte(k.text), odd: k.odd}
		out[i] = l.entry()
	}
	return out
}

// selection makes one of the rows that are wanted.
func (db *database) selection(most int, wanted func(l *line) bool, before order, after *Entry) ([]Entry, error) {
	s := &selection{most: most, before: before, after: after}
	n := scan(db.path, func(l *line) bool {
		if l.readable() && wanted(l) {
			s.offer(l, nil)
		}
		return true
	})
	if n.Err != nil {
		return nil, fmt.Errorf("%s: %w", db.path, n.Err)
	}
	return s.entries(), nil
}
