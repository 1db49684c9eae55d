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

// pass is the one pass over index.txt and the names in newcerts that makes a database.
type pass struct {
	*database
	compared *comparison
}

// readDatabase reads index.txt once, and the names in newcerts. It returns an error where newcerts cannot be read; why
// index.txt cannot be read is in unread.
func readDatabase(dir string, q question) (*database, error) {
	db := &database{answers: answersTo(q), path: filepath.Join(dir, indexName), highest: new(big.Int), whole: true,
		plain: true}
	certs := filepath.Join(dir, NewCertsDir)
	inFiles, err := serialsIn(certs)
	if err != nil {
		return nil, err
	}
	db.files = inFiles.len()
	size := durable.Look(db.path).Size
	p := pass{database: db, compared: newComparison(inFiles, size)}
	if !q.overview.IsZero() {
		db.overview = newOverview(dir, int(size/octetsOfRow), q.overview)
	}
	db.node = durable.Blocks(db.path, maxIndex, p.block)
	p.compared.finish()
	for name := range db.named {
		inFiles.mark(hashOf(serialKey(name)))
	}
	if db.unread() == nil {
		p.doubles()
	}
	if db.unread() == nil {
		if err := p.strays(certs); err != nil {
			return nil, err
		}
	}
	db.seen = p.compared.rows
	return db, nil
}

// block reads a block of whole lines of index.txt; only the last line of the file may lack its line feed.
func (p *pass) block(block []byte) bool {
	var l line
	for len(block) > 0 {
		var text []byte
		text, block, p.whole = bytes.Cut(block, lineFeed)
		row := l.read(text, p.lines+1, p.whole)
		if row {
			p.take(&l)
		}
		p.blank = p.blank || !row && len(bytes.TrimSpace(text)) == 0 // openssl takes it for a row
		if p.whole {
			p.lines++
		} else {
			p.torn = !row
		}
	}
	return true
}

// take adds a row to the results.
func (p *pass) take(l *line) {
	p.rows++
	p.plain = p.plain && l.odd == nil
	if l.odd != nil && (l.odd.Err != nil || l.odd.refused != "") {
		p.odd = append(p.odd, *l.odd)
	}
	if !l.readable() {
		p.unreadable(l.odd)
		return
	}
	p.compared.add(hashOf(l.key))
	p.see(l)
	p.answer(l)
	if p.overview != nil {
		p.overview.see(l)
	}
}

// unreadable notes the serial of a row that cannot be read, so that its certificate does not get a second row.
func (p *pass) unreadable(e *Entry) {
	name := e.names()
	if name == "" {
		p.lost = p.lost || strings.HasPrefix(e.raw, string(Revoked))
		return
	}
	if p.named == nil {
		p.named = map[string]bool{}
	}
	p.named[name] = true
	if n, err := parseSerial(name); err == nil {
		p.seeNumber(n)
	}
}

// doubles finds rows with the same serial. It looks only at the candidates that the sieve has found.
func (p *pass) doubles() {
	if len(p.compared.twice) == 0 {
		return
	}
	may := map[hash]bool{}
	for _, h := range p.compared.twice {
		may[h] = true
	}
	first := map[string]Entry{}
	var refused []Entry
	n := scan(p.path, func(l *line) bool {
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
		p.node.Err = n.Err
		return
	}
	if !same(n, p.node) {
		return // the next look reads what it is now
	}
	odd := map[int]int{} // by line: its place in p.odd
	for i := range p.odd {
		odd[p.odd[i].Line] = i
	}
	for _, e := range refused {
		if i, told := odd[e.Line]; told {
			p.odd[i] = e
		} else {
			p.odd = append(p.odd, e)
		}
		if f, asked := p.found[e.serial()]; asked && f.Line == e.Line {
			p.found[e.serial()] = e
		}
	}
	slices.SortFunc(p.odd, func(a, b Entry) int { return a.Line - b.Line })
}

// strays finds the certificates in newcerts that have no row.
func (p *pass) strays(certs string) error {
	if p.compared.files.allMarked() {
		return nil
	}
	err := eachSerial(certs, func(serial string) {
		if p.compared.files.unmarked(hashOf(serialKey(serial))) {
			p.orphans = append(p.orphans, serial+".pem")
			if n, err := parseSerial(serial); err == nil {
				p.seeNumber(n)
			}
		}
	})
	sort.Strings(p.orphans)
	return err
}
