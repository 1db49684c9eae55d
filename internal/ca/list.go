package ca

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Listed is one certificate of the CA's database.
type Listed struct {
	Serial  string    // hexadecimal, in the form of FormatSerial
	Status  string    // valid, expired, revoked
	Names   []string  // its SAN, else its CN; without its file, the CN in Subject
	Begins  time.Time // notBefore, UTC; zero without its file
	Expires time.Time // UTC
	Revoked time.Time // zero unless revoked
	Reason  string    // of the revocation
	Subject string    // as in index.txt
	NotFile bool      // newcerts does not have its file
	Unread  error     // why its file could not be read; nil also where there is none

	OtherPair bool // its host has a later certificate of another pair; only Overview and Ending set it

	Cert *x509.Certificate // nil without its file, or where that could not be read
}

// ranks is the order of the statuses in Each.
var ranks = map[string]uint8{"valid": 0, "expired": 1, "revoked": 2}

// place is the position of a row in index.txt (octets at, length) and in the list (rank, expires).
type place struct {
	expires, at int64
	length      int32
	rank        uint8
}

// Each calls take for every certificate of the database: valid ones first, in the order of their end; then expired and
// revoked ones, each with the latest end first. It returns the first error of take.
func Each(o Observed, now time.Time, take func(Listed) error) error {
	if o.db == nil {
		return o.Err
	}
	if err := o.db.unread(); err != nil {
		return err
	}
	f, rows, err := places(o.db, now)
	for patient := newPatience(); gone(err) && patient.wait(); { // each signature changes index.txt
		f, rows, err = places(o.db, now)
	}
	if err != nil || len(rows) == 0 {
		return err
	}
	defer f.Close()
	slices.SortFunc(rows, func(a, b place) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		if c := cmp.Compare(a.expires, b.expires); c != 0 {
			return c * (1 - 2*min(1, int(a.rank))) // the valid ones next due first, the others latest first
		}
		return cmp.Compare(a.at, b.at)
	})
	files, err := serialsIn(filepath.Join(o.Dir.Path, NewCertsDir))
	if err != nil {
		return err
	}
	r := &reader{f: f}
	for len(rows) > 0 {
		n, err := r.read(rows)
		if err != nil {
			return err
		}
		for _, text := range r.texts {
			var l line
			if !l.read(text, 0, true) {
				return fmt.Errorf("%s: %w", o.db.path, errMoved)
			}
			e := l.entry()
			if err := take(listed(o, &e, now, files.has(hashOf(l.key)))); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return nil
}

// places finds all rows and opens index.txt to read them; f is nil where there are none. The caller closes f. The error
// is errMoved where the file that was opened is not the one that was read.
func places(db *database, now time.Time) (f *os.File, rows []place, err error) {
	path := db.path
	rows = make([]place, 0, db.rows)
	n := scan(path, func(l *line) bool {
		if l.readable() {
			rows = append(rows, place{l.expires, l.at, int32(len(l.text)), ranks[l.state(now)]})
		}
		return true
	})
	if n.Err != nil || len(rows) == 0 {
		return nil, nil, n.Err
	}
	if f, err = durable.Open(path); err != nil {
		return nil, nil, err
	}
	si, err := f.Stat()
	if err == nil && (si.Size() != n.Size || !si.ModTime().Equal(n.Modified) || !same(n, durable.Look(path))) {
		err = fmt.Errorf("%s: %w", path, errMoved)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, rows, nil
}

// reader reads the texts of rows by their places. The order of the list is not that of the file, so it takes many rows
// at a time, reads them in the order of the file, and returns them in the order of the list.
type reader struct {
	f     *os.File
	texts [][]byte
	all   []byte // the memory of texts
	order []int  // indexes of the places, in the order of the file

	window []byte // the part of the file that was read last
	from   int64  // its offset in the file
}

// mostText bounds the text that a reader holds, in octets; a longer row is read alone.
const mostText = 4 << 20

// read reads the texts of the first rows into r.texts, and returns how many.
func (r *reader) read(rows []place) (n int, err error) {
	r.texts, r.order = r.texts[:0], r.order[:0]
	size := 0
	for ; n < len(rows) && (n == 0 || size+int(rows[n].length) <= mostText); n++ {
		size += int(rows[n].length)
		r.order = append(r.order, n)
	}
	if size > len(r.all) {
		r.all = make([]byte, size)
	}
	rest := r.all
	for _, p := range rows[:n] {
		r.texts, rest = append(r.texts, rest[:p.length]), rest[p.length:]
	}
	slices.SortFunc(r.order, func(a, b int) int { return cmp.Compare(rows[a].at, rows[b].at) })
	for _, i := range r.order {
		if err := r.copy(r.texts[i], rows[i].at); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// copy fills to from the file at offset at, and reads a new window where needed.
func (r *reader) copy(to []byte, at int64) error {
	for len(to) > 0 {
		if at < r.from || at >= r.from+int64(len(r.window)) {
			if r.window == nil {
				r.window = make([]byte, 64<<10)
			}
			n, err := r.f.ReadAt(r.window[:cap(r.window)], at)
			if err != nil && n == 0 {
				return fmt.Errorf("%s: changed while it was read: %w", r.f.Name(), err)
			}
			r.window, r.from = r.window[:n], at
		}
		n := copy(to, r.window[at-r.from:])
		to, at = to[n:], at+int64(n)
	}
	return nil
}

func status(e *Entry, now time.Time) string {
	l := line{status: e.Status, expires: e.Expires.Unix()}
	return l.state(now)
}

// listed describes a row. file says whether newcerts has a file for it.
func listed(o Observed, e *Entry, now time.Time, file bool) Listed {
	l := Listed{Serial: e.serial(), Expires: e.Expires.UTC(), Subject: e.Subject, Reason: e.Reason,
		Status: status(e, now)}
	if l.Status == "revoked" {
		l.Revoked = e.Revoked.UTC()
	}
	var cs []*x509.Certificate
	var err error
	if file {
		cs, err = readCerts(filepath.Join(o.Dir.Path, NewCertsDir, l.Serial+".pem"))
	}
	if err == nil && len(cs) > 0 {
		l.Cert, l.Names, l.Begins = cs[0], pki.CertNames(cs[0]), cs[0].NotBefore.UTC()
	} else {
		l.Names, l.NotFile, l.Unread = pki.CanonicalNames([]string{e.commonName()}), err == nil, err
	}
	return l
}

// Which finds the certificate that a person names: by its serial in hexadecimal, or by a host name that has one valid
// certificate. Where a name has only revoked ones, it is the one that was revoked last, so that a person can repeat a
// revocation whose later steps have failed. Errors: ErrUnknown, ErrSeveral (which lists them), or why a certificate
// that may have the name could not be read.
func Which(o Observed, what string, now time.Time) (*big.Int, error) {
	n, notSerial := parseSerial(what)
	if notSerial == nil && o.db != nil {
		serial := FormatSerial(n)
		if rows, err := o.db.lookUp(serial); err != nil {
			return nil, err
		} else if len(rows) > 0 {
			return n, nil
		}
	}
	var found, revoked []Listed
	var unread error
	err := Each(o, now, func(l Listed) error {
		if l.Status == "valid" && l.Unread != nil {
			unread = l.Unread
		}
		if !slices.ContainsFunc(l.Names, func(name string) bool { return strings.EqualFold(name, what) }) {
			return nil
		}
		switch l.Status {
		case "valid":
			found = append(found, l)
		case "revoked":
			revoked = append(revoked, l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if unread != nil { // the unread certificate may have that name too
		return nil, unread
	}
	if len(found) == 0 && len(revoked) > 0 {
		found = []Listed{slices.MaxFunc(revoked, func(a, b Listed) int { return a.Revoked.Compare(b.Revoked) })}
	}
	switch len(found) {
	case 1:
		return parseSerial(found[0].Serial)
	case 0:
		return nil,
			fmt.Errorf(
				"%q: %w: give a serial number, or the name of a host with a valid certificate; see `mailcertd list`",
				what, ErrUnknown)
	}
	var serials []string
	for _, l := range found {
		serials = append(serials, l.Serial+" (until "+l.Expires.Format("2006-01-02")+")")
	}
	return nil, fmt.Errorf("%q: %w: %s; name one by its serial number", what, ErrSeveral, strings.Join(serials, ", "))
}

// ErrSeveral says that a name has more than one valid certificate.
var ErrSeveral = errors.New("several valid certificates match")
