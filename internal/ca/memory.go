package ca

import (
	"path/filepath"

	"mailcertd/internal/durable"
)

// Memory keeps the result of the last pass over a CA's database, so that a look at an unchanged database needs no pass
// and a signature one at most. The result is used while index.txt and newcerts have the same device, inode, size, mtime
// and ctime, and no other question is asked. A nil Memory keeps nothing. Only one goroutine may use it.
type Memory struct {
	dir   string
	index durable.Node // index.txt when db was read
	certs durable.Node // newcerts when db was read
	db    *database
	large bool // see Large
}

// forget drops the result, so that the next look reads the disk.
func (m *Memory) forget() {
	if m != nil {
		*m = Memory{large: m.large}
	}
}

// database returns the kept result where it answers q and is current; otherwise it reads index.txt and newcerts.
func (m *Memory) database(dir string, q question) (*database, error) {
	if m != nil && m.db != nil && m.dir == dir && m.db.asked.covers(q) && m.holds() {
		return m.db, nil
	}
	certs := durable.Look(filepath.Join(dir, NewCertsDir)) // first, so that the next look sees a later change
	db, err := readDatabase(dir, q)
	if err == nil && m != nil {
		db.seen = db.seen.folded()
		*m = Memory{dir: dir, index: db.node, certs: certs, db: db, large: m.large || db.node.Size > largeIndex}
	}
	return db, err
}

// largeIndex is the size in octets of an index.txt, from which on a pass needs megabytes that nobody uses afterwards.
const largeIndex = 4 << 20

// Large says that a pass over a large index.txt was made since it was called last. What the pass used is garbage then.
func (m *Memory) Large() bool {
	large := m.large
	m.large = false
	return large
}

// holds says whether index.txt and newcerts are unchanged since db was read.
func (m *Memory) holds() bool {
	return same(m.index, durable.Look(filepath.Join(m.dir, indexName))) &&
		same(m.certs, durable.Look(filepath.Join(m.dir, NewCertsDir)))
}

// added takes note of a row that was just appended to index.txt under the lock, without another change by anybody else.
// node is index.txt after that.
func (m *Memory) added(dir string, row []byte, node durable.Node) {
	if m == nil || m.db == nil || m.dir != dir {
		return
	}
	m.db.added(row)
	m.db.node = node
	m.index, m.certs = node, durable.Look(filepath.Join(dir, NewCertsDir))
}

func same(a, b durable.Node) bool {
	return a.Kind == b.Kind && a.Exists == b.Exists && a.Err == nil && b.Err == nil && a.Dev == b.Dev &&
		a.Ino == b.Ino &&
		a.Size == b.Size && a.Modified.Equal(b.Modified) && a.Changed.Equal(b.Changed)
}
