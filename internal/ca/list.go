package ca

import (
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"sort"
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
	Expires time.Time // UTC
	Revoked time.Time // zero unless revoked
	Reason  string    // of the revocation
	Subject string    // as in index.txt
	NotFile bool      // newcerts has it no more
}

// List gives the whole database: valid certificates by their end, next due
// first, then expired ones and revoked ones, latest first.
func List(o Observed, now time.Time) []Listed {
	var out []Listed
	for i := range o.Index {
		if o.Index[i].Err == nil {
			out = append(out, listed(o, &o.Index[i], now))
		}
	}
	rank := map[string]int{"valid": 0, "expired": 1, "revoked": 2}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Status != b.Status {
			return rank[a.Status] < rank[b.Status]
		}
		if a.Status == "valid" {
			return a.Expires.Before(b.Expires)
		}
		return a.Expires.After(b.Expires)
	})
	return out
}

// NextDue gives the first most of the valid certificates by their end, without
// those that a later one for the same names has replaced. It opens few files
// more than those of what it gives.
func NextDue(o Observed, now time.Time, most int) []Listed {
	var rows []*Entry
	last := map[string]*Entry{} // by subject
	for i := range o.Index {
		if e := &o.Index[i]; e.Err == nil && status(e, now) == "valid" {
			rows = append(rows, e)
			last[e.Subject] = e
		}
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Expires.Before(rows[j].Expires) })
	var out []Listed
	for _, e := range rows {
		if len(out) >= most {
			break
		}
		l := listed(o, e, now)
		if later := last[e.Subject]; later != e && slices.Equal(l.Names, listed(o, later, now).Names) {
			continue
		}
		out = append(out, l)
	}
	return out
}

func status(e *Entry, now time.Time) string {
	switch {
	case e.Status == Revoked:
		return "revoked"
	case e.Status == Expired || now.After(e.Expires):
		return "expired"
	}
	return "valid"
}

func listed(o Observed, e *Entry, now time.Time) Listed {
	l := Listed{Serial: FormatSerial(e.Serial), Expires: e.Expires.UTC(), Subject: e.Subject, Reason: e.Reason, Status: status(e, now)}
	if l.Status == "revoked" {
		l.Revoked = e.Revoked.UTC()
	}
	if cs, err := readCerts(filepath.Join(o.Dir.Path, newCertsName, l.Serial+".pem")); err == nil && len(cs) > 0 {
		l.Names = pki.CertNames(cs[0])
	} else {
		l.Names, l.NotFile = pki.CanonicalNames([]string{e.commonName()}), true
	}
	return l
}

// Which finds the certificate that a person names: by serial in hex, or the
// one valid certificate of a host name. Several are an error that lists them.
func Which(o Observed, what string, now time.Time) (*big.Int, error) {
	n, notSerial := parseSerial(what)
	if notSerial == nil && o.db != nil {
		if _, known := o.db.row(FormatSerial(n)); known {
			return n, nil
		}
	}
	var found []Listed
	for _, l := range List(o, now) {
		if l.Status != "valid" {
			continue
		}
		for _, name := range l.Names {
			if strings.EqualFold(name, what) {
				found = append(found, l)
				break
			}
		}
	}
	switch len(found) {
	case 1:
		return parseSerial(found[0].Serial)
	case 0:
		return nil, fmt.Errorf("%q: %w: want a serial number or the name of a host with a valid certificate, see `mailcertd list`", what, ErrUnknown)
	}
	var serials []string
	for _, l := range found {
		serials = append(serials, l.Serial+" (until "+l.Expires.Format("2006-01-02")+")")
	}
	return nil, fmt.Errorf("%q: %w: %s; name one by its serial number", what, ErrSeveral, strings.Join(serials, ", "))
}

// ErrSeveral says that a name fits more than one certificate.
var ErrSeveral = errors.New("several valid certificates fit")

// CertificateFile is the text of an issued certificate; nil when its file is gone.
func CertificateFile(o Observed, serial *big.Int) []byte {
	return durable.Read(filepath.Join(o.Dir.Path, newCertsName, FormatSerial(serial)+".pem"), maxFile).Data
}
