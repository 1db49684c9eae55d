package ca

import (
	"bytes"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"mailcertd/internal/durable"
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

// database is the result of a pass over index.txt and the names in newcerts. It does not hold the rows, so that its
// memory does not grow with their number.
type database struct {
	asked    question
	wanted   keySet // the serials that were asked for
	path     string
	node     durable.Node // index.txt, without Data
	whole    bool         // index.txt is empty or ends with a line feed
	lines    int          // line feeds in index.txt
	rows     int          // also those that cannot be read
	torn     bool
	plain    bool              // every row has the form that line.plain reads
	blank    bool              // an empty line is in index.txt
	odd      []Entry           // rows that cannot be read, or because of which openssl fails
	named    map[string]bool   // serials of rows that cannot be read otherwise
	lost     bool              // a row that began as a revocation does not say whose
	found    map[string]Entry  // by serial: what was asked for
	hosts    []Entry           // the rows of the names that were asked for, and those without a CN
	missing  []bool            // for each list that was asked about: it lacks a revoked row
	files    int               // certificates in newcerts
	orphans  []string          // names without a row, whether or not a certificate is in them
	highest  *big.Int          // the highest serial that was counted, not drawn at random
	leaves   map[int]time.Time // by generation, see lastLeaves; nil: not asked yet
	leavesOf string            // the generations that leaves speaks of
	shares   *bool             // what sharing has found; nil: not asked yet

	overview *overview // nil: nobody asked for it

	compared *comparison // while index.txt is read
	seen     *sieve      // of the rows that can be read: a serial that none of them has is found without another pass
}

// unread is why index.txt could not be read, in the first pass or in a later one; it is nil also where the file is
// missing. While it is not nil, nobody knows whether a certificate in newcerts has a row.
func (db *database) unread() error { return db.node.Err }

// complete says that index.txt exists, that every row can be read, and that every certificate in newcerts has a row.
func (db *database) complete() bool {
	unread := slices.ContainsFunc(db.odd, func(e Entry) bool { return e.Err != nil })
	return db.node.Exists && !db.torn && !db.lost && !unread && len(db.orphans) == 0
}

// open says that the last row is whole but lacks its line feed. `openssl ca` drops such a row when it writes the
// database again, and a revoked certificate would become valid. A row that was cut off and names no serial does not
// count: with a line feed it would look like a complete row.
func (db *database) open() bool {
	cut := slices.ContainsFunc(db.odd, func(e Entry) bool { return e.Err == errCut })
	return !db.whole && !db.torn && !cut
}

// still returns nil while index.txt is the file that was read, errMoved where it has changed, or the error of stat(2).
// The results of a second pass may be combined with those of the first only while it is nil: `openssl ca` takes no
// lock, and between its two renames there is no index.txt.
func (db *database) still() error {
	switch n := durable.Look(db.path); {
	case n.Err != nil:
		return n.Err
	case !same(n, db.node):
		return fmt.Errorf("%s: %w", db.path, errMoved)
	}
	return nil
}

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

// see keeps the highest serial that was counted up, not drawn at random.
func (db *database) see(l *line) {
	if len(l.serial) <= 16 && l.key>>maxCounted == 0 && (!db.highest.IsUint64() || l.key > db.highest.Uint64()) {
		db.highest.SetUint64(l.key)
	}
}

func (db *database) seeNumber(n *big.Int) {
	if n.BitLen() <= maxCounted && n.Cmp(db.highest) > 0 {
		db.highest.Set(n)
	}
}

// row returns the row of a serial that the question names. It panics for another serial, whose row was not looked for:
// "not found" would be wrong.
func (db *database) row(serial string) (Entry, bool) {
	if !db.asked.serials[serial] {
		panic("ca: nobody asked for the row of serial " + serial) // a fault of the program: its answer would be wrong
	}
	e, known := db.found[serial]
	return e, known
}

// lookUp finds the rows of serials that the question did not name, in a pass of its own.
func (db *database) lookUp(serials ...string) (map[string]Entry, error) {
	other := &database{asked: question{serials: map[string]bool{}}, found: map[string]Entry{}}
	var needles [][]byte
	for _, s := range serials {
		other.asked.serials[s] = true
		needles = append(needles, []byte("\t"+s+"\t"))
	}
	other.wanted = other.asked.hashes()
	lines := 0
	n := durable.Blocks(db.path, maxIndex, func(block []byte) bool {
		if db.plain && !slices.ContainsFunc(needles, func(s []byte) bool { return bytes.Contains(block, s) }) {
			lines += bytes.Count(block, lineFeed)
			return true
		}
		var l line
		for len(block) > 0 {
			text, rest, whole := bytes.Cut(block, lineFeed)
			lines, block = lines+1, rest
			if l.read(text, lines, whole) && l.readable() {
				other.answer(&l)
			}
		}
		return true
	})
	return other.found, n.Err
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

// added updates the results for a row that was just appended to index.txt, after its certificate was written.
func (db *database) added(text []byte) {
	var l line
	db.lines++
	if !l.read(text, db.lines, true) {
		return
	}
	db.rows++
	db.files++
	db.plain = db.plain && l.odd == nil
	db.shares = nil
	db.see(&l)
	db.seen.sift([]hash{hashOf(l.key)}, nil)
	db.answer(&l)
	name := string(l.serial) + ".pem"
	db.orphans = slices.DeleteFunc(db.orphans, func(n string) bool { return n == name })
}

// used says that a row or a file in newcerts has that serial.
func (db *database) used(n *big.Int) (bool, error) {
	if n.BitLen() <= maxCounted && n.Cmp(db.highest) > 0 {
		return false, nil
	}
	if db.unread() != nil {
		return false, nil // nobody signs then
	}
	serial := FormatSerial(n)
	if db.named[serial] || slices.Contains(db.orphans, serial+".pem") {
		return true, nil
	}
	if db.seen.never(hashOf(serialKey(serial))) && db.still() == nil {
		return false, nil
	}
	found, err := db.lookUp(serial)
	return len(found) > 0, err
}
