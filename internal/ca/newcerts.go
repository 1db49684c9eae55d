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

// issued collects the certificates that could serve the host.
func (o *Observed) issued(dir string, f Filter) {
	o.Issued = o.db.issued(dir, f.Name)
}

// issued reads the certificates in newcerts for a name, newest first, without
// those that are revoked.
func (db *database) issued(dir, name string) (out []Issued) {
	for _, n := range db.of(name) {
		serial, row := n.serial, n.row
		if row != nil && row.Status == Revoked {
			continue
		}
		path := filepath.Join(dir, newCertsName, serial+".pem")
		cs, err := readCerts(path)
		if err != nil || len(cs) == 0 || FormatSerial(cs[0].SerialNumber) != serial || cs[0].IsCA {
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
	return out
}

// before says that a was issued before b, by the order of their rows in index.txt, to whose end each is added. One
// without a row is newer than any: its row is still to come.
func (a Issued) before(b Issued) bool { return a.line() < b.line() }

func (a Issued) line() int {
	if a.Row == nil {
		return math.MaxInt
	}
	return a.Row.Line
}

// list gives the names SERIAL.pem in newcerts, in no order.
func list(dir string) ([]string, error) {
	all, err := durable.Names(dir, maxCerts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	out := all[:0]
	for _, n := range all {
		if base, ok := strings.CutSuffix(n, ".pem"); ok && canonicalSerial(base) {
			out = append(out, n)
		}
	}
	return out, nil
}

// canonicalSerial says that s is a serial as FormatSerial writes it.
func canonicalSerial(s string) bool {
	if len(s) == 0 || len(s)%2 == 1 || len(s) > 40 || len(s) > 2 && s[:2] == "00" {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
