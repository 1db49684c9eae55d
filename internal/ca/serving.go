package ca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// servingRows returns the rows of those certificates that index.txt has, by FormatSerial; nil: it has none.
func servingRows(db *database, serving []*x509.Certificate) map[string]Entry {
	if db.unread() != nil {
		return nil
	}
	var rows map[string]Entry
	for _, c := range serving {
		if c == nil {
			continue
		}
		serial := FormatSerial(c.SerialNumber)
		if e, known := db.row(serial); known {
			if rows == nil {
				rows = map[string]Entry{}
			}
			rows[serial] = e
		}
	}
	return rows
}

// servingFaults reports certificates that this host has installed and a generation has issued, but that the database
// lacks: the file in newcerts or the row in index.txt. Such a certificate cannot be revoked. The cause is that `openssl
// ca` takes no lock: one that was running when the certificate was signed writes its own older copy of index.txt back,
// and with counted serials it also replaces the file in newcerts.
func servingFaults(o *Observed, serving []*x509.Certificate) (found []Fault) {
	for _, c := range serving {
		if c == nil || o.db.unread() != nil || !o.issuedBy(c) {
			continue
		}
		found = append(found, unlisted(o, c)...)
	}
	return found
}

// unlisted compares the database with a certificate that a generation has issued.
func unlisted(o *Observed, c *x509.Certificate) []Fault {
	serial := FormatSerial(c.SerialNumber)
	path := o.path(filepath.Join(NewCertsDir, serial+".pem"))
	cs, err := readCerts(path)
	there := durable.Look(path)
	e, row := o.db.row(serial)
	switch {
	case err != nil || there.Err != nil:
		return nil // the step that needs the file reports the error
	case row && !sameRow(e, c) && len(cs) > 0 && bytes.Equal(cs[0].Raw, c.Raw):
		// Nobody else has the serial number: the row alone is wrong, for example because a write was cut short.
		want := entryFor(c)
		return []Fault{{Kind: FaultIndexOther, Path: o.rowPath(e), Got: "serial " + serial, Hint: fmt.Sprintf(
			"correct the row by hand: its last field must be %s, its second one %s; or run `mailcertd renew` to issue "+
				"a certificate with another serial number", want.Subject, formatTime(want.Expires))}}
	case len(cs) > 0 && !bytes.Equal(cs[0].Raw, c.Raw), row && !sameRow(e, c):
		return []Fault{{Kind: FaultTaken, Path: path, Got: "serial " + serial, Hint: "the certificate that is in use " +
			"cannot be revoked: run `mailcertd renew` to issue one with another serial number"}}
	case there.Kind == durable.Missing && !row:
		return []Fault{{Kind: FaultUnlisted, Path: path, Got: "serial " + serial, Repairable: true}}
	}
	return nil
}

// lacks says whether servingFaults has found that the database lacks c.
func lacks(found []Fault, c *x509.Certificate) bool {
	return c != nil && slices.ContainsFunc(found, func(f Fault) bool {
		return f.Kind == FaultUnlisted && strings.HasSuffix(f.Path, FormatSerial(c.SerialNumber)+".pem")
	})
}

// issuedBy says whether a generation whose certificate is present has issued c.
func (o *Observed) issuedBy(c *x509.Certificate) bool {
	return slices.ContainsFunc(append([]Generation{o.Current}, o.Older...), func(g Generation) bool {
		return g.Cert != nil && pki.IssuedBy(c, g.Cert)
	})
}

// sameRow says whether e is the row of c, and not of another certificate with the same serial.
func sameRow(e Entry, c *x509.Certificate) bool {
	want := entryFor(c)
	return e.Expires.Equal(want.Expires) && e.Subject == want.Subject
}

// putBack writes the certificate into newcerts, which a CA that was made with `openssl x509 -CA` does not have yet.
// reconcile then adds its row, as for any certificate without one.
func putBack(disk *durable.Disk, dir string, c *x509.Certificate) error {
	if err := disk.Mkdir(filepath.Join(dir, NewCertsDir), dirMode); err != nil {
		return err
	}
	return disk.Replace(filepath.Join(dir, NewCertsDir, FormatSerial(c.SerialNumber)+".pem"),
		pki.EncodeCertificate(c.Raw), publicMode)
}
