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

// unlisted checks that a certificate which this host has installed is in the database: its file in newcerts and its row
// in index.txt. Otherwise it cannot be revoked. The cause is that `openssl ca` takes no lock: one that was running when
// the certificate was signed writes its own older copy of index.txt back, and with counted serials it also replaces the
// file in newcerts.
func (o *Observed) unlisted(c *x509.Certificate) {
	if c == nil || o.db.unread() != nil {
		return
	}
	if e, row := o.db.row(FormatSerial(c.SerialNumber)); row {
		if o.ServingRows == nil {
			o.ServingRows = map[string]Entry{}
		}
		o.ServingRows[FormatSerial(c.SerialNumber)] = e
	}
	if !o.issuedBy(c) {
		return
	}
	serial := FormatSerial(c.SerialNumber)
	name := filepath.Join(newCertsName, serial+".pem")
	cs, err := readCerts(filepath.Join(o.Dir.Path, name))
	there := durable.Look(filepath.Join(o.Dir.Path, name))
	e, row := o.db.row(serial)
	switch {
	case err != nil || there.Err != nil:
		return // the step that needs the file reports the error
	case row && !sameRow(e, c) && len(cs) > 0 && bytes.Equal(cs[0].Raw, c.Raw):
		// Nobody else has the serial number: the row alone is wrong, for example because a write was cut short.
		want := entryFor(c)
		o.fault(FaultIndexOther, fmt.Sprintf("%s:%d", indexName, e.Line), false, "", "serial "+serial)
		o.Faults[len(o.Faults)-1].Hint = fmt.Sprintf("correct the row by hand: its last field must be %s, its second "+
			"one %s; or run `mailcertd renew` to issue a certificate with another serial number", want.Subject,
			formatTime(want.Expires))
	case len(cs) > 0 && !bytes.Equal(cs[0].Raw, c.Raw), row && !sameRow(e, c):
		o.fault(FaultTaken, name, false, "", "serial "+serial)
		o.Faults[len(o.Faults)-1].Hint = "the certificate that is in use cannot be revoked: run `mailcertd renew` to " +
			"issue one with another serial number"
	case there.Kind == durable.Missing && !row:
		o.fault(FaultUnlisted, name, true, "", "serial "+serial)
	}
}

// lacks says whether unlisted has found that the database lacks c.
func (o *Observed) lacks(c *x509.Certificate) bool {
	return c != nil && slices.ContainsFunc(o.Faults, func(f Fault) bool {
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
	if err := disk.Mkdir(filepath.Join(dir, newCertsName), dirMode); err != nil {
		return err
	}
	return disk.Replace(filepath.Join(dir, newCertsName, FormatSerial(c.SerialNumber)+".pem"),
		pki.EncodeCertificate(c.Raw), publicMode)
}
