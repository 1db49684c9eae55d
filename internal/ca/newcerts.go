package ca

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"sort"
	"strings"

	"mailcertd/internal/durable"
)

// issued reads the certificates in newcerts for a host, newest first, without the revoked ones. rows are the host's
// rows of index.txt. unread is why one or more of them could not be read; those are not in out.
func (db *database) issued(dir, name string, rows []Entry) (out []Issued, unread error) {
	for _, n := range db.of(name, rows) {
		serial, row := n.serial, n.row
		if row != nil && row.Status == Revoked {
			continue
		}
		path := filepath.Join(dir, NewCertsDir, serial+".pem")
		cs, err := readCerts(path)
		if err != nil {
			unread = err
		}
		if len(cs) == 0 || FormatSerial(cs[0].SerialNumber) != serial || cs[0].IsCA {
			continue
		}
		out = append(out, Issued{Serial: cs[0].SerialNumber, Path: path, Cert: cs[0], Row: row})
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if !a.Cert.NotBefore.Equal(b.Cert.NotBefore) {
			return a.Cert.NotBefore.After(b.Cert.NotBefore)
		}
		return b.before(a)
	})
	return out, unread
}

// before says whether a was issued before b, by the order of their rows, because every row is appended to index.txt. A
// certificate without a row counts as the newest: its row is still to be written.
func (a Issued) before(b Issued) bool { return a.line() < b.line() }

func (a Issued) line() int {
	if a.Row == nil {
		return math.MaxInt
	}
	return a.Row.Line
}

// eachSerial calls take with the serial of each file SERIAL.pem in newcerts, in no order. A missing directory has none.
func eachSerial(dir string, take func(serial string)) error {
	most := maxCerts
	err := durable.EachName(dir, func(name string) bool {
		if serial, ok := strings.CutSuffix(name, ".pem"); ok && canonicalSerial(serial) {
			take(serial)
			most--
		}
		return most > 0
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// canonicalSerial says whether s is a serial in the form of FormatSerial.
func canonicalSerial[T string | []byte](s T) bool {
	if len(s) == 0 || len(s)%2 == 1 || len(s) > 40 || len(s) > 2 && s[0] == '0' && s[1] == '0' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
