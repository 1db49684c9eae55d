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

// answers are what a pass has found for its question.
type answers struct {
	asked   question
	wanted  keySet           // the serials that were asked for
	found   map[string]Entry // by serial: what was asked for
	hosts   []Entry          // the rows of the names that were asked for, and those without a CN
	missing []bool           // for each list that was asked about: it lacks a revoked row
}

func answersTo(q question) answers {
	return answers{asked: q, wanted: q.hashes(), found: map[string]Entry{}, missing: make([]bool, len(q.lists))}
}

// answer notes the row if the question asks for it. What few rows need has functions of its own: the copies of an Entry
// on this one's stack took a tenth of a pass.
func (a *answers) answer(l *line) {
	// The set of hashes is looked up first: in the map of texts, a million rows took a fifth of the pass.
	if a.wanted.has(hashOf(l.key)) {
		a.find(l)
	}
	if len(a.asked.names) > 0 {
		if host := l.host(); len(host) == 0 || a.asksFor(host) {
			a.hostRow(l)
		}
	}
	if l.status == Revoked {
		for i, list := range a.asked.lists {
			a.missing[i] = a.missing[i] || !list[string(l.serial)]
		}
	}
}

// asksFor says that the question names the host.
func (a *answers) asksFor(host []byte) bool {
	return slices.Contains(a.asked.names, string(host))
}

// find notes the row if the question names its serial. If two rows have the serial, the revoked one counts.
func (a *answers) find(l *line) {
	if !a.asked.serials[string(l.serial)] {
		return
	}
	if have, twice := a.found[string(l.serial)]; !twice || have.Status != Revoked {
		a.found[string(l.serial)] = l.entry()
	}
}

// hostRow notes a row of a host that was asked for.
//
//go:noinline
func (a *answers) hostRow(l *line) { a.hosts = append(a.hosts, l.entry()) }

// row returns the row of a serial that the question names. It panics for another serial, whose row was not looked for:
// "not found" would be wrong.
func (a *answers) row(serial string) (Entry, bool) {
	if !a.asked.serials[serial] {
		panic("ca: nobody asked for the row of serial " + serial) // a fault of the program: its answer would be wrong
	}
	e, known := a.found[serial]
	return e, known
}
