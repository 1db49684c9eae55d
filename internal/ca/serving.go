package ca

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// unlisted finds out whether a certificate that this host has installed is in the database: its file in newcerts and
// its row in index.txt. `openssl ca` has no lock: one that began before ours was signed writes its own copy of
// index.txt back without it, and with counted serials takes its place in newcerts too. What is in no database cannot be
// revoked.
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
		return // told as what it is where it is needed
	case len(cs) > 0 && !bytes.Equal(cs[0].Raw, c.Raw), row && !sameRow(e, c):
		o.fault(FaultTaken, name, false, "", "serial "+serial)
		o.Faults[len(o.Faults)-1].Hint = "the certificate that is in use cannot be revoked: run `mailcertd renew` to " +
			"issue one with another serial number"
	case there.Kind == durable.Missing && !row:
		o.fault(FaultUnlisted, name, true, "", "serial "+serial)
	}
}

// lacks says that c was found to be unlisted.
func (o *Observed) lacks(c *x509.Certificate) bool {
	return c != nil && slices.ContainsFunc(o.Faults, func(f Fault) bool {
		return f.Kind == FaultUnlisted && strings.HasSuffix(f.Path, FormatSerial(c.SerialNumber)+".pem")
	})
}

// issuedBy says that a generation whose certificate is there has issued c.
func (o *Observed) issuedBy(c *x509.Certificate) bool {
	return slices.ContainsFunc(append([]Generation{o.Current}, o.Older...), func(g Generation) bool {
		return g.Cert != nil && pki.IssuedBy(c, g.Cert)
	})
}

// sameRow says that a row is that of c and not of another certificate with its serial.
func sameRow(e Entry, c *x509.Certificate) bool {
	want := entryFor(c)
	return e.Expires.Equal(want.Expires) && e.Subject == want.Subject
}

// putBack writes the certificate into newcerts. Its row follows as that of any certificate without one.
func putBack(disk *durable.Disk, dir string, c *x509.Certificate) error {
	return disk.Replace(filepath.Join(dir, newCertsName, FormatSerial(c.SerialNumber)+".pem"),
		pki.EncodeCertificate(c.Raw), publicMode)
}

// leftovers are temporary files of ours, relative to the CA directory. Whoever holds the lock of the directory is the
// only one that may write such a file, so that one which is seen then belongs to nobody.
func (o *Observed) leftovers() []string {
	var out []string
	dirs := []string{"", newCertsName, nextName}
	for _, g := range o.Older {
		dirs = append(dirs, filepath.Base(g.Dir))
	}
	for _, d := range dirs {
		names, err := durable.Names(filepath.Join(o.Dir.Path, d), 0)
		if err != nil {
			continue // missing, or told elsewhere
		}
		for _, n := range names {
			base, temporary := durable.TempOf(n)
			if temporary && Owns(filepath.Join(d, base), false) &&
				durable.Look(filepath.Join(o.Dir.Path, d, n)).Kind == durable.File {
				out = append(out, filepath.Join(d, n))
			}
		}
	}
	return out
}
