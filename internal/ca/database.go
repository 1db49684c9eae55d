package ca

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"time"

	"mailcertd/internal/durable"
)

// database is the result of a pass over index.txt and the names in newcerts. It does not hold the rows, so that its
// memory does not grow with their number.
type database struct {
	answers  // to the question that the pass was asked
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
	files    int               // certificates in newcerts
	orphans  []string          // names without a row, whether or not a certificate is in them
	highest  *big.Int          // the highest serial that was counted, not drawn at random
	leaves   map[int]time.Time // by generation, see lastLeaves; nil: not asked yet
	leavesOf string            // the generations that leaves speaks of
	shares   *bool             // what sharing has found; nil: not asked yet

	overview *overview // nil: nobody asked for it

	seen *sieve // of the rows that can be read: a serial that none of them has is found without another pass
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

// lookUp finds the rows of serials that the question did not name, in a pass of its own.
func (db *database) lookUp(serials ...string) (map[string]Entry, error) {
	q := question{serials: map[string]bool{}}
	var needles [][]byte
	for _, s := range serials {
		q.serials[s] = true
		needles = append(needles, []byte("\t"+s+"\t"))
	}
	other := answersTo(q)
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
