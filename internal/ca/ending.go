package ca

import (
	"bytes"
	"hash/maphash"
	"time"
)

// Counts says how many certificates of index.txt are valid, expired and revoked.
type Counts struct{ Valid, Expired, Revoked int }

// mostOpened is how many certificate files Overview opens, beside those that it returns: where each host has one pair
// and many certificates, it is enough for the rows of the first pass.
const mostOpened = 2 * leastKept

// Overview counts the certificates, and returns up to most valid ones, the earliest to expire first, without those that
// a later certificate of the same host has replaced. Where o was observed with Filter.Overview, the first pass over
// index.txt was made then, and the result is that of its moment, not of now. Further passes are needed only where many
// were replaced. The file of a certificate alone says which pair of its host it belongs to, and a host may have many
// that were replaced: once mostOpened files were opened, any later certificate of the host counts as the successor.
// Ending opens all of them.
func Overview(o Observed, now time.Time, most int) (c Counts, next []Listed, err error) {
	if o.db == nil {
		return c, nil, o.Err
	}
	if err := o.db.unread(); err != nil {
		return c, nil, err
	}
	v := o.db.overview
	if v == nil {
		v = newOverview(o.Dir.Path, o.db.rows, now)
		if n := scan(o.db.path, v.see); n.Err != nil {
			return c, nil, n.Err
		}
	}
	if most > 0 {
		err = v.ending(o, func(l Listed) bool {
			next = append(next, l)
			return len(next) < most
		})
	}
	return v.Counts, next, err
}

// overview is a survey that counts the rows as well. Each overview answers once.
type overview struct {
	Counts
	*survey
}

// newOverview is for the CA in dir, and an index.txt of that many rows.
func newOverview(dir string, rows int, now time.Time) *overview {
	return &overview{survey: newSurvey(newOpener(dir, mostOpened), rows, now,
		func(l *line) bool { return l.validAt(now) })}
}

// see is for the first pass.
func (v *overview) see(l *line) bool {
	if !l.readable() {
		return true
	}
	switch l.state(v.now) {
	case "revoked":
		v.Revoked++
	case "expired":
		v.Expired++
	default:
		v.Valid++
	}
	return v.survey.see(l)
}

// Ending calls take for each certificate that expires from one time to another, the earliest first, without those that
// are revoked or that a later certificate of the same host has replaced. Its memory does not grow with their number.
func Ending(o Observed, now, from, to time.Time, take func(Listed)) error {
	if o.db == nil {
		return o.Err
	}
	if err := o.db.unread(); err != nil {
		return err
	}
	first, last := from.Unix(), to.Unix()
	s := newSurvey(newOpener(o.Dir.Path, anyNumber), o.db.rows, now,
		func(l *line) bool { return l.status != Revoked && first <= l.expires && l.expires <= last })
	if n := scan(o.db.path, s.see); n.Err != nil {
		return n.Err
	}
	return s.ending(o, func(l Listed) bool {
		take(l)
		return true
	})
}

// survey finds the rows that are wanted, the earliest to expire first, without those that a later row of the same host
// has replaced. It holds the rows of one pass over index.txt, which has called see for each of them.
type survey struct {
	now    time.Time
	wanted func(*line) bool
	files  *opener
	rows   *selection
	last   map[uint64]*successor // of the hosts of the rows, by hash
	few    *few                  // the hashes in last, looked up first: the map took a twentieth of a pass
	newest *newest
	seed   maphash.Seed
}

func newSurvey(files *opener, rows int, now time.Time, wanted func(*line) bool) *survey {
	s := &survey{now: now, wanted: wanted, files: files, newest: noteNewest(files, rows), seed: maphash.MakeSeed()}
	s.begin(leastKept, nil)
	return s
}

// begin forgets the rows, for a pass that keeps up to most of those after that one.
func (s *survey) begin(most int, after *Entry) {
	s.rows, s.last = &selection{most: most, before: soonest, after: after}, map[uint64]*successor{}
	s.few = &few{}
}

// see notes a row. It returns true, for scan.
func (s *survey) see(l *line) bool {
	if l.status == Revoked || !l.readable() { // no certificate can be told from a row that cannot be read
		return true
	}
	host := l.host()
	hash := maphash.Bytes(s.seed, host)
	if s.newest.replaced(l, host, hash, l.validAt(s.now)) {
		return true
	}
	var of *successor
	if !s.few.lacks(hash) {
		if of = s.last[hash]; of != nil {
			of.see(l, s.now)
		}
	}
	if s.wanted(l) && s.rows.offer(l, host) && of == nil && len(host) > 0 {
		s.last[hash] = &successor{}
		s.few.add(hash)
	}
	if len(s.last) > 4*s.rows.most {
		s.last = s.rows.only(s.last, s.seed)
	}
	return true
}

// ending calls take for the rows until take returns false. The first pass was made; it makes the further ones.
func (s *survey) ending(o Observed, take func(Listed) bool) error {
	nameless := &nameless{o: o, now: s.now, files: s.files}
	for {
		s.newest.complete()
		rows := s.rows.entries()
		for i := range rows {
			e, host := &rows[i], s.rows.rows[i].host
			by, err := s.last[maphash.String(s.seed, host)], error(nil)
			if host == "" {
				by, err = nameless.successor(e)
			}
			if err != nil {
				return err
			}
			replaced, other := by.replaces(s.files, e, host, s.now)
			if replaced {
				continue
			}
			l := listed(o, e, s.now, true)
			if l.OtherPair = other; !take(l) {
				return nil
			}
		}
		if len(rows) < s.rows.most {
			return nil
		}
		s.begin(min(16*s.rows.most, mostKept), &rows[len(rows)-1])
		if n := scan(o.db.path, s.see); n.Err != nil {
			return n.Err
		}
	}
}

// only is last without the hosts whose rows the selection no longer keeps.
func (s *selection) only(last map[uint64]*successor, seed maphash.Seed) map[uint64]*successor {
	out := map[uint64]*successor{}
	for i := range s.rows {
		if host := s.rows[i].host; host != "" {
			hash := maphash.String(seed, host)
			out[hash] = last[hash]
		}
	}
	return out
}

// lastRows is how many of the last rows of a host are kept. A host may have three pairs. The successor of a certificate
// is among these rows unless one pair of the host is renewed much more often than the others.
const lastRows = 8

// successor is the last of some rows of a host that are not revoked, and the last that are valid.
type successor struct{ any, valid []numbered }

// numbered is a row by its line, and its serial.
type numbered struct {
	line   int
	serial []byte
}

// keep adds a row to the last ones.
func keep(rows []numbered, l *line) []numbered {
	if len(rows) < lastRows {
		return append(rows, numbered{l.n, bytes.Clone(l.serial)})
	}
	first := rows[0]
	copy(rows, rows[1:])
	rows[len(rows)-1] = numbered{l.n, append(first.serial[:0], l.serial...)}
	return rows
}

func (s *successor) see(l *line, now time.Time) {
	if s.any = keep(s.any, l); l.validAt(now) {
		s.valid = keep(s.valid, l)
	}
}

// replaces says that one of the rows is a later certificate of the same host and pair as e; other says that one is a
// later certificate of another pair. An expired certificate does not replace a valid one.
func (s *successor) replaces(files *opener, e *Entry, host string, now time.Time) (replaced, other bool) {
	if s == nil {
		return false, false
	}
	by := s.any
	if status(e, now) == "valid" {
		by = s.valid
	}
	var of *holder
	for i := len(by) - 1; i >= 0 && by[i].line > e.Line; i-- {
		if files.spent() {
			return isHost([]byte(host)), false // the file alone says whose a certificate without a host's name is
		}
		if of == nil {
			of = files.holder(e.serial(), host)
		}
		after := files.successor(string(by[i].serial), host)
		if host != "" && !isHost([]byte(host)) && of.name != after.name {
			continue
		}
		if of.pair(after) {
			return true, false
		}
		other = true
	}
	return false, other
}

// nameless finds the successor of a row without a CN. A name that is too long for a CN is in the certificate alone.
type nameless struct {
	o     Observed
	now   time.Time
	files *opener
	last  map[string]*successor // by name; nil: they were not read yet
}

func (r *nameless) successor(e *Entry) (*successor, error) {
	if r.last == nil {
		r.last = map[string]*successor{}
		n := scan(r.o.db.path, func(l *line) bool {
			if l.readable() && l.status != Revoked && len(commonName(l.subject)) == 0 {
				name := r.files.holder(string(l.serial), "").name
				if r.last[name] == nil {
					r.last[name] = &successor{}
				}
				r.last[name].see(l, r.now)
			}
			return !r.files.spent()
		})
		if n.Err != nil {
			return nil, n.Err
		}
		delete(r.last, "")
	}
	if r.files.spent() {
		return nil, nil
	}
	return r.last[r.files.holder(e.serial(), "").name], nil
}
