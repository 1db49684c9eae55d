package ca

import (
	"bytes"
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
	names    []string       // SERIAL.pem, in no order once some were added
	bySerial map[string]int // row by FormatSerial
	files    map[string]bool
	byName   map[string][]string // serials by commonName in lower case; "" for rows and files without
	subjects map[string]bool     // of valid rows
	shares   bool                // two valid rows have one subject
	orphans  []string            // names without a row, whether or not a certificate is in them
	highest  *big.Int            // the highest that was counted, not drawn at random
}

// maxCounted tells serials that were counted up from random ones, in bits.
const maxCounted = 63

func newDatabase() *database {
	return &database{bySerial: map[string]int{}, files: map[string]bool{}, byName: map[string][]string{},
		subjects: map[string]bool{}, highest: new(big.Int)}
}

// database reads index.txt and newcerts, or remembers them.
func (m *Memory) database(dir string) (*database, error) {
	indexPath, certsPath := filepath.Join(dir, indexName), filepath.Join(dir, newCertsName)
	if m != nil && m.db != nil && m.dir == dir && same(m.index, durable.Look(indexPath)) && same(m.certs, durable.Look(certsPath)) {
		return m.db, nil
	}
	certs := durable.Look(certsPath) // before it is listed: what changes meanwhile is read again
	names, err := list(certsPath)
	if err != nil {
		return nil, err
	}
	n := durable.Read(indexPath, maxIndex)
	db := newDatabase()
	rows, torn := ParseIndex(n.Data)
	db.torn = torn
	db.whole = len(n.Data) == 0 || n.Data[len(n.Data)-1] == '\n'
	db.lines = bytes.Count(n.Data, []byte("\n"))
	n.Data = nil
	db.node = n
	for _, e := range rows {
		db.addRow(e)
	}
	for _, name := range names {
		db.addFile(name)
	}
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

func (db *database) addRow(e Entry) {
	i := len(db.rows)
	db.rows = append(db.rows, e)
	if e.Err != nil {
		return
	}
	serial := FormatSerial(e.Serial)
	db.bySerial[serial] = i
	db.see(e.Serial)
	cn := strings.ToLower(e.commonName())
	db.byName[cn] = append(db.byName[cn], serial)
	if e.Status == Valid {
		db.shares = db.shares || db.subjects[e.Subject]
		db.subjects[e.Subject] = true
	}
	if i := slices.Index(db.orphans, serial+".pem"); i >= 0 {
		db.orphans = slices.Delete(db.orphans, i, i+1)
	}
}

func (db *database) addFile(name string) {
	if db.files[name] {
		return
	}
	db.files[name] = true
	db.names = append(db.names, name)
	serial := strings.TrimSuffix(name, ".pem")
	if _, known := db.bySerial[serial]; known {
		return
	}
	db.orphans = append(db.orphans, name)
	db.byName[""] = append(db.byName[""], serial)
	if n, err := parseSerial(serial); err == nil {
		db.see(n)
	}
}

func (db *database) see(n *big.Int) {
	if n.BitLen() <= maxCounted && n.Cmp(db.highest) > 0 {
		db.highest = n
	}
}

func (db *database) used(n *big.Int) bool {
	serial := FormatSerial(n)
	_, row := db.bySerial[serial]
	return row || db.files[serial+".pem"]
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

// for a name: the serials of the rows whose CN it is and of those that have
// none, oldest first.
func (db *database) of(name string) []string {
	out := slices.Clone(db.byName[""])
	if name != "" {
		out = append(out, db.byName[strings.ToLower(name)]...)
	}
	sort.Strings(out)
	return slices.Compact(out)
}
