package ca

import (
	"maps"
	"path/filepath"
	"slices"

	"mailcertd/internal/durable"
)

// Memory remembers what the last pass over a CA's database found, so that looking at an unchanged one costs no pass,
// and a signature one at most. It is believed while index.txt and newcerts are the same by device, inode, size, mtime
// and ctime, and the same is asked. nil remembers nothing. It belongs to one goroutine.
type Memory struct {
	dir   string
	index durable.Node
	certs durable.Node
	db    *database
}

// Forget drops everything: the next look reads the disk.
func (m *Memory) Forget() {
	if m != nil {
		*m = Memory{}
	}
}

// database reads index.txt and newcerts, or remembers them.
func (m *Memory) database(dir string, q question) (*database, error) {
	if m != nil && m.db != nil && m.dir == dir && m.db.asked.covers(q) && m.holds() {
		return m.db, nil
	}
	certs := durable.Look(filepath.Join(dir, newCertsName)) // before it is listed: what changes meanwhile is read again
	db, err := readDatabase(dir, q)
	if err == nil && m != nil {
		*m = Memory{dir: dir, index: db.node, certs: certs, db: db}
	}
	return db, err
}

// holds says that nobody changed the database since.
func (m *Memory) holds() bool {
	return same(m.index, durable.Look(filepath.Join(m.dir, indexName))) &&
		same(m.certs, durable.Look(filepath.Join(m.dir, newCertsName)))
}

// covers says that the answer to q is among the answers to p.
func (p question) covers(q question) bool {
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

// added says that a certificate was signed under the lock: its row is now at the end of index.txt, which is node,
// and nobody else changed anything.
func (m *Memory) added(dir string, row []byte, node durable.Node) {
	if m == nil || m.db == nil || m.dir != dir {
		return
	}
	m.db.added(row)
	m.db.node = node
	m.index, m.certs = node, durable.Look(filepath.Join(dir, newCertsName))
}

func same(a, b durable.Node) bool {
	return a.Kind == b.Kind && a.Exists == b.Exists && a.Err == nil && b.Err == nil && a.Dev == b.Dev &&
		a.Ino == b.Ino &&
		a.Size == b.Size && a.Modified.Equal(b.Modified) && a.Changed.Equal(b.Changed)
}
