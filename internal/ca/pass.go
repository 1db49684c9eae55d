package ca

import (
	"bytes"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"mailcertd/internal/durable"
)

// readDatabase reads index.txt once, and the names in newcerts. It returns an error where newcerts cannot be read; why
// index.txt cannot be read is in unread.
func readDatabase(dir string, q question) (*database, error) {
	db := &database{asked: q, path: filepath.Join(dir, indexName), highest: new(big.Int), whole: true, plain: true,
		found: map[string]Entry{}, missing: make([]bool, len(q.lists))}
	db.wanted = q.hashes()
	certs := filepath.Join(dir, newCertsName)
	inFiles, err := serialsIn(certs)
	if err != nil {
		return nil, err
	}
	db.files = inFiles.len()
	size := durable.Look(db.path).Size
	db.compared = newComparison(inFiles, size)
	if !q.overview.IsZero() {
		db.overview = newOverview(dir, int(size/octetsOfRow), q.overview)
	}
	db.node = durable.Blocks(db.path, maxIndex, db.block)
	db.compared.finish()
	for name := range db.named {
		inFiles.mark(hashOf(serialKey(name)))
	}
	if db.unread() == nil {
		db.doubles()
	}
	if db.unread() == nil {
		if err := db.strays(certs); err != nil {
			return nil, err
		}
	}
	db.seen, db.compared = db.compared.rows, nil
	return db, nil
}

// block reads a block of whole lines of index.txt; only the last line of the file may lack its line feed.
func (db *database) block(block []byte) bool {
	var l line
	for len(block) > 0 {
		var text []byte
		text, block, db.whole = bytes.Cut(block, lineFeed)
		row := l.read(text, db.lines+1, db.whole)
		if row {
			db.take(&l)
		}
		db.blank = db.blank || !row && len(bytes.TrimSpace(text)) == 0 // openssl takes it for a row
		if db.whole {
			db.lines++
		} else {
			db.torn = !row
		}
	}
	return true
}

// take adds a row to the results.
func (db *database) take(l *line) {
	db.rows++
	db.plain = db.plain && l.odd == nil
	if l.odd != nil && (l.odd.Err != nil || l.odd.refused != "") {
		db.odd = append(db.odd, *l.odd)
	}
	if !l.readable() {
		db.unreadable(l.odd)
		return
	}
	db.compared.add(hashOf(l.key))
	db.see(l)
	db.answer(l)
	if db.overview != nil {
		db.overview.see(l)
	}
}

// unreadable notes the serial of a row that cannot be read, so that its certificate does not get a second row.
func (db *database) unreadable(e *Entry) {
	name := e.names()
	if name == "" {
		db.lost = db.lost || strings.HasPrefix(e.raw, string(Revoked))
		return
	}
	if db.named == nil {
		db.named = map[string]bool{}
	}
	db.named[name] = true
	if n, err := parseSerial(name); err == nil {
		db.seeNumber(n)
	}
}

// doubles finds rows with the same serial. It looks only at the candidates that the sieve has found.
func (db *database) doubles() {
	if len(db.compared.twice) == 0 {
		return
	}
	may := map[hash]bool{}
	for _, h := range db.compared.twice {
		may[h] = true
	}
	first := map[string]Entry{}
	var refused []Entry
	n := scan(db.path, func(l *line) bool {
		if !l.readable() || !may[hashOf(l.key)] {
			return true
		}
		e := l.entry()
		if was, twice := first[e.serial()]; twice {
			e.refused = fmt.Sprintf("serial %s is also in line %d", e.serial(), was.Line)
			refused = append(refused, e)
			if was.Status == Revoked {
				return true
			}
		}
		first[e.serial()] = e
		return true
	})
	if n.Err != nil {
		db.node.Err = n.Err
		return
	}
	if !same(n, db.node) {
		return // the next look reads what it is now
	}
	odd := map[int]int{} // by line: its place in db.odd
	for i := range db.odd {
		odd[db.odd[i].Line] = i
	}
	for _, e := range refused {
		if i, told := odd[e.Line]; told {
			db.odd[i] = e
		} else {
			db.odd = append(db.odd, e)
		}
		if f, asked := db.found[e.serial()]; asked && f.Line == e.Line {
			db.found[e.serial()] = e
		}
	}
	slices.SortFunc(db.odd, func(a, b Entry) int { return a.Line - b.Line })
}

// strays finds the certificates in newcerts that have no row.
func (db *database) strays(certs string) error {
	if db.compared.files.allMarked() {
		return nil
	}
	err := eachSerial(certs, func(serial string) {
		if db.compared.files.unmarked(hashOf(serialKey(serial))) {
			db.orphans = append(db.orphans, serial+".pem")
			if n, err := parseSerial(serial); err == nil {
				db.seeNumber(n)
			}
		}
	})
	sort.Strings(db.orphans)
	return err
}
