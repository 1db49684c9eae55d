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

// Listed is one certificate of the database.
type Listed struct {
	Serial  string    // hex, as openssl has it
	Status  string    // valid, expired, revoked
	Names   []string  // its SAN, else its CN; from the subject when its file is gone
	Begins  time.Time // UTC; zero when its file is gone
	Expires time.Time // UTC
	Revoked time.Time // zero unless revoked
	Reason  string    // of the revocation
	Subject string    // as in index.txt
	NotFile bool      // newcerts has it no more
	Unread  error     // why its file could not be read; its names are those of the subject then

	OtherPair bool // its host has a later certificate of another pair; Overview and Ending alone say it

	Cert *x509.Certificate // nil when its file is gone, or could not be read
}

// ranks are the order of Each.
var ranks = map[string]uint8{"valid": 0, "expired": 1, "revoked": 2}

// place is where a row of index.txt stands, and in the list.
type place struct {
	expires, at int64
	length      int32
	rank        uint8
}

// Each gives the whole database one by one: valid certificates by their end, next due
// first, then expired ones and revoked ones, latest first. An error from take ends it, and is returned.
func Each(o Observed, now time.Time, take func(Listed) error) error {
	if o.db == nil {
		return o.Err
	}
	if err := o.db.unread(); err != nil {
		return err
	}
	f, rows, err := places(o.db, now)
	for patient := newPatience(); gone(err) && patient.wait(); { // every signature adds a row
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
	files, err := serialsIn(filepath.Join(o.Dir.Path, newCertsName))
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
			if err := take(listed(o, &e, now, files.has(l.key))); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	return nil
}

// places finds where the rows are, and opens the file that has them: nil where there is none. errMoved: it is another
// one by now.
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

// reader reads rows by their places. The order of the list is not that of the file: it takes many at a time, reads them
// in the order of the file, and gives them in that of the list.
type reader struct {
	f     *os.File
	texts [][]byte
	all   []byte // their texts
	order []int  // of the places, as they are in the file

	window []byte // what is in the file
	from   int64  // where it begins there
}

// mostText is how much text a reader holds, in octets, as long as a row has less.
const mostText = 4 << 20

// read reads the first rows, and says how many.
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

// copy copies what is at a place of the file, from its window where it is that far.
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

// listed describes a row. file says that its certificate is in newcerts, as far as is known.
func listed(o Observed, e *Entry, now time.Time, file bool) Listed {
	l := Listed{Serial: e.serial(), Expires: e.Expires.UTC(), Subject: e.Subject, Reason: e.Reason,
		Status: status(e, now)}
	if l.Status == "revoked" {
		l.Revoked = e.Revoked.UTC()
	}
	var cs []*x509.Certificate
	var err error
	if file {
		cs, err = readCerts(filepath.Join(o.Dir.Path, newCertsName, l.Serial+".pem"))
	}
	if err == nil && len(cs) > 0 {
		l.Cert, l.Names, l.Begins = cs[0], pki.CertNames(cs[0]), cs[0].NotBefore.UTC()
	} else {
		l.Names, l.NotFile, l.Unread = pki.CanonicalNames([]string{e.commonName()}), err == nil, err
	}
	return l
}

// Which finds the certificate that a person names: by serial in hex, or the
// one valid certificate of a host name. Several are an error that lists them. A host
// whose certificates are all revoked gives the one that was revoked last: what was to
// follow its revocation may have failed.
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
	if unread != nil { // it may be for that name too
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

// ErrSeveral says that a name fits more than one certificate.
var ErrSeveral = errors.New("several valid certificates match")
