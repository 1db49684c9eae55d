package ca

import (
	"hash/maphash"
	"math/big"
	"slices"
	"sort"
	"strings"
)

// The questions here are rare, so each makes its own pass over index.txt when it is asked.

// mostSerials bounds how many serials one pass looks for.
const mostSerials = 1 << 16

// nextSerial is the number that the serial file must contain: its own, or, where that is missing or too low, one above
// the highest serial that was counted up. Serials that were drawn at random do not raise it; those in use are skipped.
func (db *database) nextSerial(file *big.Int) (*big.Int, error) {
	next := new(big.Int).Add(db.highest, big.NewInt(1))
	if file != nil && file.Sign() > 0 && file.Cmp(next) > 0 {
		next.Set(file)
	}
	taken, err := db.used(next)
	for many := 16; err == nil && taken; many = min(16*many, mostSerials) {
		taken, err = db.skip(next, many)
	}
	if err != nil {
		db.node.Err = err
	}
	return next, err
}

// skip moves next to the first of the many numbers from it on that is not in use. Where all are in use it returns true,
// and next is the number after them.
func (db *database) skip(next *big.Int, many int) (all bool, err error) {
	in, serials, n := map[string]bool{}, make([]string, many), new(big.Int).Set(next)
	for i := range serials {
		serials[i] = FormatSerial(n)
		in[serials[i]] = false
		n.Add(n, big.NewInt(1))
	}
	use := func(serial string) {
		if _, asked := in[serial]; asked {
			in[serial] = true
		}
	}
	node := scan(db.path, func(l *line) bool {
		if _, asked := in[string(l.serial)]; asked {
			in[string(l.serial)] = true
		}
		return true
	})
	for serial := range db.named {
		use(serial)
	}
	for _, name := range db.orphans {
		use(strings.TrimSuffix(name, ".pem"))
	}
	for _, serial := range serials {
		if !in[serial] {
			return false, node.Err
		}
		next.Add(next, big.NewInt(1))
	}
	return true, node.Err
}

// sharing says whether two valid rows have the same subject.
func (db *database) sharing() (bool, error) {
	if db.shares != nil {
		return *db.shares, nil
	}
	seed, shares := maphash.MakeSeed(), false
	seen := map[uint64]uint64{}
	n := scan(db.path, func(l *line) bool {
		if l.readable() && l.status == Valid {
			subject, key := maphash.Bytes(seed, l.subject), l.key
			was, other := seen[subject]
			shares = other && was != key
			seen[subject] = key
		}
		return !shares
	})
	if n.Err != nil {
		db.node.Err = n.Err
		return false, n.Err
	}
	db.shares = &shares
	return shares, nil
}

// has says whether a valid row has that subject.
func (db *database) has(subject string) (found bool, err error) {
	n := scan(db.path, func(l *line) bool {
		found = l.readable() && l.status == Valid && string(l.subject) == subject
		return !found
	})
	return found, n.Err
}

// rowsOf returns the rows of hosts, and those without a CN.
func (db *database) rowsOf(names ...string) ([]Entry, error) {
	if !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(db.asked.names, n) }) {
		return db.hosts, nil
	}
	other := answersTo(question{names: names})
	n := scan(db.path, func(l *line) bool {
		if l.readable() {
			other.answer(l)
		}
		return true
	})
	return other.hosts, n.Err
}

// named is a serial that may belong to a host, and its row; nil: it has none.
type named struct {
	serial string
	row    *Entry
}

// of returns the serials that may belong to a host, sorted as text: its rows, the rows without a CN, and files in
// newcerts without a row.
func (db *database) of(name string, rows []Entry) []named {
	var out []named
	for i := range rows {
		if cn := rows[i].commonName(); cn == "" || strings.EqualFold(cn, name) {
			out = append(out, named{rows[i].serial(), &rows[i]})
		}
	}
	for _, o := range db.orphans {
		out = append(out, named{strings.TrimSuffix(o, ".pem"), nil})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].serial < out[j].serial })
	return out
}
