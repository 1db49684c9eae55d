package ca

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/pki"
)

// Counts are the certificates of index.txt by what became of them.
type Counts struct{ Valid, Expired, Revoked int }

// Overview counts them, and gives the first most of the valid ones by their end, without those that a later one for the
// same host has replaced. It takes one pass, and another one only where many were replaced.
func Overview(o Observed, now time.Time, most int) (c Counts, next []Listed, err error) {
	if o.db == nil {
		return c, nil, o.Err
	}
	count := func(l *line) {
		switch l.state(now) {
		case "revoked":
			c.Revoked++
		case "expired":
			c.Expired++
		default:
			c.Valid++
		}
	}
	wanted := func(l *line) bool { return most > 0 && l.state(now) == "valid" }
	err = ending(o, now, wanted, count, func(l Listed) bool {
		next = append(next, l)
		return len(next) < most
	})
	return c, next, err
}

// Ending gives the certificates that end from one time to another, next due first: those that are not revoked, and that
// no later one for the same host has replaced. It needs no more memory for many of them than for some.
func Ending(o Observed, now, from, to time.Time, take func(Listed)) error {
	if o.db == nil {
		return o.Err
	}
	if err := o.db.unread(); err != nil {
		return err
	}
	first, last := from.Unix(), to.Unix()
	wanted := func(l *line) bool { return l.status != Revoked && first <= l.expires && l.expires <= last }
	return ending(o, now, wanted, func(*line) {}, func(l Listed) bool {
		take(l)
		return true
	})
}

// ending gives those that are wanted to take, until it says false, and each row that can be read to each.
func ending(o Observed, now time.Time, wanted func(*line) bool, each func(*line), take func(Listed) bool) error {
	var after *Entry
	nameless := &nameless{o: o, now: now}
	for most := leastKept; ; most = min(16*most, mostKept) {
		s, last := &selection{most: most, before: soonest, after: after}, map[string]*successor{}
		n := scan(o.db.path, func(l *line) bool {
			if !l.readable() {
				return true // no certificate can be told from it
			}
			each(l)
			if l.status == Revoked {
				return true
			}
			host := hostOf(l.subject)
			of := last[string(host)]
			if of != nil {
				of.see(l, now)
			}
			if wanted(l) && s.offer(l, host) && of == nil && len(host) > 0 {
				last[string(host)] = &successor{}
			}
			if len(last) > 4*most {
				last = s.only(last)
			}
			return true
		})
		if n.Err != nil {
			return n.Err
		}
		each = func(*line) {} // it has seen them
		rows := s.entries()
		for i := range rows {
			e, host := &rows[i], s.rows[i].host
			by, err := last[host], error(nil)
			if host == "" {
				by, err = nameless.successor(e)
			}
			if err != nil {
				return err
			}
			replaced, other := by.replaces(o, e, host, now)
			if replaced {
				continue
			}
			l := listed(o, e, now, true)
			if l.OtherPair = other; !take(l) {
				return nil
			}
		}
		if len(rows) < most {
			return nil
		}
		after = &rows[len(rows)-1]
	}
}

// only is last without the hosts whose rows are kept no more.
func (s *selection) only(last map[string]*successor) map[string]*successor {
	out := map[string]*successor{}
	for i := range s.rows {
		if host := s.rows[i].host; host != "" {
			out[host] = last[host]
		}
	}
	return out
}

// hostOf is by what the rows of one host are known: their CN in small letters. Nothing: there is none.
func hostOf(subject []byte) []byte {
	cn := commonName(subject)
	for _, c := range cn {
		if c >= 'A' && c <= 'Z' || c >= 0x80 {
			return bytes.ToLower(cn)
		}
	}
	return cn
}

// lastRows is how many of the last rows of a host are kept. A host may have three pairs, and the successor of a
// certificate is among these rows if no pair of the host was renewed much more often than the others.
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
	if s.any = keep(s.any, l); l.state(now) == "valid" {
		s.valid = keep(s.valid, l)
	}
}

// replaces says that one of them came after e, for the same host and the same pair of it; other, that one came for
// another pair of it. A valid certificate is not replaced by one that has expired.
func (s *successor) replaces(o Observed, e *Entry, host string, now time.Time) (replaced, other bool) {
	if s == nil {
		return false, false
	}
	by := s.any
	if status(e, now) == "valid" {
		by = s.valid
	}
	var of *holder
	for i := len(by) - 1; i >= 0 && by[i].line > e.Line; i-- {
		if of == nil {
			of = holderOf(o, e.serial(), host)
		}
		after := holderOf(o, string(by[i].serial), host)
		if host != "" && !isHost(host) && of.name != after.name {
			continue
		}
		if of.pair(after) {
			return true, false
		}
		other = true
	}
	return false, other
}

// holder says which pair of which host a certificate belongs to.
type holder struct {
	name   string // of the host
	key    x509.PublicKeyAlgorithm
	server bool // a server may show it; other certificates are for clients alone
	known  bool // its file was read
}

// holderOf reads the file of a certificate. Where it is gone, its CN alone is known.
func holderOf(o Observed, serial, cn string) *holder {
	cs, err := readCerts(filepath.Join(o.Dir.Path, newCertsName, serial+".pem"))
	if err != nil || len(cs) == 0 {
		return &holder{name: cn}
	}
	c, h := cs[0], &holder{name: cn, known: true}
	if names := pki.CertNames(c); len(names) > 0 {
		h.name = names[0]
	}
	h.key = c.PublicKeyAlgorithm
	h.server = len(c.ExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	return h
}

// pair says that both certificates of one host belong to one pair, as far as is known. A host has one pair of each key
// type, and one to show as a client.
func (h *holder) pair(other *holder) bool {
	return !h.known || !other.known || h.key == other.key && h.server == other.server
}

// isHost says that a CN is the name of a host. One such as "Mail server" may be in the certificates of several: their
// files say whose they are.
func isHost(cn string) bool {
	return strings.Contains(cn, ".") && strings.Trim(cn, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// firstName is the name of the host that a certificate is for, or its CN where its file is gone.
func firstName(o Observed, serial, cn string) string {
	return holderOf(o, serial, cn).name
}

// nameless finds the successor of a row without a CN: a name that is too long for one is in the certificate alone.
type nameless struct {
	o    Observed
	now  time.Time
	last map[string]*successor // by name; nil: they were not read yet
}

func (r *nameless) successor(e *Entry) (*successor, error) {
	if r.last == nil {
		r.last = map[string]*successor{}
		n := scan(r.o.db.path, func(l *line) bool {
			if l.readable() && l.status != Revoked && len(commonName(l.subject)) == 0 {
				name := firstName(r.o, string(l.serial), "")
				if r.last[name] == nil {
					r.last[name] = &successor{}
				}
				r.last[name].see(l, r.now)
			}
			return true
		})
		if n.Err != nil {
			return nil, n.Err
		}
		delete(r.last, "")
	}
	return r.last[firstName(r.o, e.serial(), "")], nil
}
