package ca

import (
	"fmt"
	"sort"
)

// The number of rows that a selection keeps at first, and at most.
const (
	leastKept = 256
	mostKept  = 1 << 16
)

// kept is a row in a selection.
type kept struct {
	expires int64
	n       int
	host    string // the result of line.host; "" where the caller does not need it
	text    string
	odd     *Entry
}

func valid(l *line) bool { return l.status == Valid }

// order says whether end a comes before end b.
type order func(a, b int64) bool

func soonest(a, b int64) bool { return a < b }
func latest(a, b int64) bool  { return a > b }

// selection collects the first rows, at most most, in the order of their ends and then of their lines. With after, only
// rows that come after that one count. It holds at most 2*most rows at a time.
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

// offer adds the row if it may be among the first. It returns whether it did.
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

// entries returns the selected rows. Call it once, after the last offer.
func (s *selection) entries() []Entry {
	s.cut()
	out := make([]Entry, len(s.rows))
	for i, k := range s.rows {
		l := line{n: k.n, text: []byte(k.text), odd: k.odd}
		out[i] = l.entry()
	}
	return out
}

// selection makes a pass over index.txt and returns the first rows, at most most, among those that are wanted.
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
