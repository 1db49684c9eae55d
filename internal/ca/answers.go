package ca

import (
	"maps"
	"slices"
	"time"
)

// question says which rows a pass over index.txt looks for, beside the counts and faults that each pass finds.
type question struct {
	// names are host names in canonical form. The pass finds their rows and all rows without a CN; with no names it
	// finds neither.
	names   []string
	serials map[string]bool // their rows are found
	// lists are the serials in each CRL. The pass finds whether a list lacks a revoked row.
	lists []map[string]bool
	// overview is the moment for which the pass also makes the overview; zero: it makes none.
	overview time.Time
}

// hashes are those of the serials that the question names.
func (q question) hashes() (s keySet) {
	for serial := range q.serials {
		s.add(hashOf(serialKey(serial)))
	}
	return s
}

// answer notes the row if a question asked for it. What few rows need has functions of its own: the copies of an Entry
// on this one's stack took a tenth of a pass.
func (db *database) answer(l *line) {
	// The set of hashes is looked up first: in the map of texts, a million rows took a fifth of the pass.
	if db.wanted.has(hashOf(l.key)) {
		db.find(l)
	}
	if len(db.asked.names) > 0 {
		if host := l.host(); len(host) == 0 || db.asksFor(host) {
			db.hostRow(l)
		}
	}
	if l.status == Revoked {
		for i, list := range db.asked.lists {
			db.missing[i] = db.missing[i] || !list[string(l.serial)]
		}
	}
}

// asksFor says that the question names the host.
func (db *database) asksFor(host []byte) bool {
	return slices.Contains(db.asked.names, string(host))
}

// find notes the row if the question names its serial. If two rows have the serial, the revoked one counts.
func (db *database) find(l *line) {
	if !db.asked.serials[string(l.serial)] {
		return
	}
	if have, twice := db.found[string(l.serial)]; !twice || have.Status != Revoked {
		db.found[string(l.serial)] = l.entry()
	}
}

// hostRow notes a row of a host that was asked for.
//
//go:noinline
func (db *database) hostRow(l *line) { db.hosts = append(db.hosts, l.entry()) }

// row returns the row of a serial that the question names. It panics for another serial, whose row was not looked for:
// "not found" would be wrong.
func (db *database) row(serial string) (Entry, bool) {
	if !db.asked.serials[serial] {
		panic("ca: nobody asked for the row of serial " + serial) // a fault of the program: its answer would be wrong
	}
	e, known := db.found[serial]
	return e, known
}

// covers says whether a pass that was asked p has the answer to q. An overview answers once.
func (p question) covers(q question) bool {
	if !q.overview.IsZero() {
		return false
	}
	for s := range q.serials {
		if !p.serials[s] {
			return false
		}
	}
	for _, n := range q.names {
		if !slices.Contains(p.names, n) {
			return false
		}
	}
	return slices.EqualFunc(p.lists, q.lists, maps.Equal[map[string]bool])
}
