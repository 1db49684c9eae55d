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

// Memory remembers what a CA's database held, so that looking at an unchanged
// one, or adding to it, costs no reading of ten thousand rows. It is believed
// while index.txt and newcerts are the same by device, inode, size, mtime and
// ctime. nil remembers nothing. It belongs to one goroutine.
type Memory struct {
	dir     string
	index   durable.Node
	certs   durable.Node
	db      *database
	issuers map[string]int // by serial: the generation that signed it, 0 for none that is known
	known   string         // the generations that issuers speaks of
}

// Forget drops everything: the next look reads the disk.
func (m *Memory) Forget() {
	if m != nil {
		*m = Memory{}
	}
}

// database is index.txt and the names in newcerts, with what is asked of them.
type database struct {
	node     durable.Node // index.txt, without Data
	whole    bool         // index.txt is empty or ends with a line feed
	lines    int          // line feeds in index.txt
	rows     []Entry
	torn     bool
	blank    bool            // an empty line stands in index.txt
	named    map[string]bool // serials of rows that cannot be read otherwise
	lost     bool            // a row that began as a revocation does not say whose
	bySerial map[string]int  // row by FormatSerial; nil until somebody asks for one
	files    int             // certificates in newcerts
	orphans  []string        // names without a row, whether or not a certificate is in them
	highest  *big.Int        // the highest that was counted, not drawn at random
	shares   bool            // two valid rows have one subject; known once sharing was asked
	asked    bool
}

// unread is why index.txt could not be read; nil: it was read, or there is none. Without its rows no certificate in
// newcerts is known to lack one.
func (db *database) unread() error { return db.node.Err }

// database reads index.txt and newcerts, or remembers them.
func (m *Memory) database(dir string) (*database, error) {
	indexPath, certsPath := filepath.Join(dir, indexName), filepath.Join(dir, newCertsName)
	if m != nil && m.db != nil && m.dir == dir && same(m.index, durable.Look(indexPath)) && same(m.certs, durable.Look(certsPath)) {
		return m.db, nil
	}
	certs := durable.Look(certsPath) // before it is listed: what changes meanwhile is read again
	n := durable.Read(indexPath, maxIndex)
	rows, torn := ParseIndex(n.Data)
	db := &database{torn: torn, whole: len(n.Data) == 0 || n.Data[len(n.Data)-1] == '\n', highest: new(big.Int), rows: rows,
		lines: bytes.Count(n.Data, []byte("\n"))}
	db.blank = blankLine(n.Data)
	n.Data = nil
	db.node = n
	for i := range rows {
		e := &rows[i]
		if e.Err == nil {
			db.see(e.Serial)
			continue
		}
		if name := e.names(); name != "" {
			if db.named == nil {
				db.named = map[string]bool{}
			}
			db.named[name] = true
			if n, err := parseSerial(name); err == nil {
				db.see(n)
			}
		} else if strings.HasPrefix(e.raw, string(Revoked)) {
			db.lost = true
		}
	}
	db.row("") // which finds rows that stand twice
	if db.unread() == nil {
		names, err := list(certsPath)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			db.addFile(name)
		}
	}
	sort.Strings(db.orphans)
	if m != nil {
		issuers, known := m.issuers, m.known
		if m.dir != dir {
			issuers, known = nil, ""
		}
		*m = Memory{dir: dir, index: n, certs: certs, db: db, issuers: issuers, known: known}
	}
	return db, nil
}

// written says that the database in memory is what lies on the disk now, after
// a change of our own under the lock.
func (m *Memory) written(dir string, db *database) {
	if m == nil {
		return
	}
	m.dir, m.db = dir, db
	m.index, m.certs = db.node, durable.Look(filepath.Join(dir, newCertsName))
}

func same(a, b durable.Node) bool {
	return a.Kind == b.Kind && a.Exists == b.Exists && a.Err == nil && b.Err == nil && a.Dev == b.Dev && a.Ino == b.Ino &&
		a.Size == b.Size && a.Modified.Equal(b.Modified) && a.Changed.Equal(b.Changed)
}

// blankLine finds a line without anything in it. openssl takes it for a row.
func blankLine(data []byte) bool {
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			return true
		}
	}
	return false
}

// row is the number of the row with that serial; of two, the one that is
// revoked. Most work on a database needs it for no row, or for many.
func (db *database) row(serial string) (int, bool) {
	if db.bySerial == nil {
		db.bySerial = make(map[string]int, len(db.rows)+1)
		for i := range db.rows {
			e := &db.rows[i]
			if e.Err != nil {
				continue
			}
			if first, twice := db.bySerial[e.serial()]; twice {
				e.refused = fmt.Sprintf("serial %s stands in line %d too", e.serial(), db.rows[first].Line)
				if db.rows[first].Status == Revoked {
					continue
				}
			}
			db.bySerial[e.serial()] = i
		}
	}
	i, known := db.bySerial[serial]
	return i, known
}

func (db *database) addRow(e Entry) {
	db.rows = append(db.rows, e)
	if db.bySerial != nil && e.Err == nil {
		db.bySerial[e.serial()] = len(db.rows) - 1
	}
	db.asked = false
	if e.Err == nil {
		db.see(e.Serial)
	}
	if e.Err != nil {
		return
	}
	serial := e.serial()
	if len(db.orphans) > 0 {
		db.orphans = slices.DeleteFunc(db.orphans, func(n string) bool { return n == serial+".pem" })
	}
}

// addFile notes a new name in newcerts.
func (db *database) addFile(name string) {
	db.files++
	serial := strings.TrimSuffix(name, ".pem")
	if last := len(db.rows) - 1; last >= 0 && db.rows[last].Err == nil && db.rows[last].serial() == serial {
		return // as after every signature
	}
	if _, known := db.row(serial); known || db.named[serial] {
		return
	}
	db.orphans = append(db.orphans, name)
	if n, err := parseSerial(serial); err == nil {
		db.see(n)
	}
}

func (db *database) see(n *big.Int) {
	if n.BitLen() <= maxCounted && n.Cmp(db.highest) > 0 {
		db.highest = n
	}
}

// used: rows and files have distinct serials, but for orphans both.
func (db *database) used(n *big.Int) bool {
	if n.BitLen() <= maxCounted && n.Cmp(db.highest) > 0 {
		return false
	}
	serial := FormatSerial(n)
	_, row := db.row(serial)
	return row || db.named[serial] || slices.Contains(db.orphans, serial+".pem")
}

// sharing says that two valid rows have one subject.
func (db *database) sharing() bool {
	if !db.asked {
		db.asked, db.shares = true, false
		seen := make(map[string]*Entry, len(db.rows))
		for i := range db.rows {
			if e := &db.rows[i]; e.Err == nil && e.Status == Valid {
				was := seen[e.Subject]
				db.shares = db.shares || was != nil && was.Serial.Cmp(e.Serial) != 0
				seen[e.Subject] = e
			}
		}
	}
	return db.shares
}

// has says that a valid row has that subject.
func (db *database) has(subject string) bool {
	for i := range db.rows {
		if e := &db.rows[i]; e.Err == nil && e.Status == Valid && e.Subject == subject {
			return true
		}
	}
	return false
}

// nextSerial is the serial file's number, or the first above everything seen
// when that is lower or missing. Random serials are not counted from: the file
// goes on where it is, and what is in use is passed over.
func (db *database) nextSerial(file *big.Int) *big.Int {
	next := new(big.Int).Add(db.highest, big.NewInt(1))
	if file != nil && file.Sign() > 0 && file.Cmp(next) > 0 {
		next.Set(file)
	}
	for db.used(next) {
		next.Add(next, big.NewInt(1))
	}
	return next
}

// named is a serial that belongs to a name, with its row; nil: it has none.
type named struct {
	serial string
	row    *Entry
}

// of gives what may belong to a name, oldest first: the rows whose CN it is and
// those that have none, and files without a row.
func (db *database) of(name string) []named {
	var out []named
	for i := range db.rows {
		e := &db.rows[i]
		if e.Err != nil {
			continue
		}
		if cn := e.commonName(); cn == "" || name != "" && strings.EqualFold(cn, name) {
			out = append(out, named{e.serial(), e})
		}
	}
	for _, o := range db.orphans {
		out = append(out, named{strings.TrimSuffix(o, ".pem"), nil})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].serial < out[j].serial })
	return out
}
