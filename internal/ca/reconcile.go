package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Reconcile repairs every fault that is Repairable and returns those it found. It is monotone: no row is deleted, none
// is changed but that of who is in a CRL, which is revoked, and the serial only rises. serving are the certificates
// that this host has installed, a nil for none: where a generation issued one and the database lacks it, as after an
// `openssl ca` that wrote its own old copy back, it is put back.
func Reconcile(ctx context.Context, disk *durable.Disk, dir string, serving ...*x509.Certificate) ([]Fault, error) {
	l, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	before := Observe(dir, Filter{Serving: serving})
	if before.Err != nil {
		return nil, before.Err
	}
	found := before.Faults
	for _, c := range serving {
		if !before.lacks(c) {
			continue
		}
		if err := putBack(disk, dir, c); err != nil {
			return found, err
		}
	}
	for _, f := range found {
		if f.Kind == FaultMode && f.Repairable {
			mode := fs.FileMode(keyMode)
			if filepath.Clean(f.Path) == filepath.Clean(dir) {
				mode = dirMode
			}
			path, err := resolved(f.Path)
			if err == nil {
				err = disk.Chmod(path, mode)
			}
			if err != nil {
				return found, err
			}
		}
	}
	_, err = reconcile(disk, dir, nil)
	return found, err
}

// put replaces a file of the directory. A link stays, and what it leads to is
// replaced: who keeps index.txt elsewhere goes on finding it there.
func put(disk *durable.Disk, path string, data []byte, mode fs.FileMode) error {
	to, err := resolved(path)
	if err != nil {
		return err
	}
	return disk.Replace(to, data, mode)
}

// resolved is where a link leads to; what is not there yet is path itself. An error: it is not known, and a link would
// be replaced.
func resolved(path string) (string, error) {
	switch n := durable.Look(path).Located(); {
	case n.Err != nil:
		return "", n.Err
	case n.Resolved != "":
		return n.Resolved, nil
	}
	return path, nil
}

// reconcile does the work under the lock, and says what is there then.
func reconcile(disk *durable.Disk, dir string, m *Memory) (Observed, error) {
	set := durable.OpenSet(disk, dir)
	if p, err := set.Pending(); err != nil {
		return Observed{}, err
	} else if p.Journal || p.Damaged || p.Empty || len(p.Staged) > 0 {
		if _, err := set.Recover(); err != nil {
			return Observed{}, err
		}
	}
	o := m.Observe(dir, Filter{})
	if o.Err != nil {
		return o, o.Err
	}
	if o.Status == Absent || o.Status == Unfinished || len(o.Faults) == 0 {
		return o, nil
	}
	m.Forget()
	for patient := newPatience(); ; {
		if o.rewrites() { // what was read may have been the half of a file
			if err := rested(dir); err != nil {
				return o, err
			}
			if o = m.Observe(dir, Filter{}); o.Err != nil {
				return o, o.Err
			}
		}
		if testOnlyObserved != nil {
			testOnlyObserved()
		}
		err := mend(disk, dir, &o)
		if err == nil {
			break
		}
		if m.Forget(); !errors.Is(err, errMoved) || !patient.wait() {
			return o, err
		}
		if o = m.Observe(dir, Filter{}); o.Err != nil {
			return o, o.Err
		}
	}
	o = m.Observe(dir, Filter{})
	return o, o.Err
}

func mend(disk *durable.Disk, dir string, o *Observed) error {
	if err := o.db.unread(); err != nil { // each certificate would seem to lack its row
		return err
	}
	if err := disk.Mkdir(filepath.Join(dir, newCertsName), dirMode); err != nil {
		return err
	}
	if n := durable.Look(filepath.Join(dir, nextName)); n.IsDir && o.Next.Cert == nil && o.has(FaultInterrupted) {
		if err := dropNext(disk, dir); err != nil {
			return err
		}
	}
	for _, name := range o.leftovers() {
		if err := disk.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := mendIndex(disk, o); err != nil {
		return err
	}
	want, err := o.db.nextSerial(o.Serial)
	if err != nil {
		return err
	}
	if o.serialErr == nil && (o.serialOdd || o.Serial == nil || o.Serial.Cmp(want) != 0) {
		if o.Serial == nil { // not a number: a person may want to know what it was
			if err := keepAside(disk, filepath.Join(dir, serialName)); err != nil {
				return err
			}
		}
		if err := writeSerial(disk, dir, want); err != nil {
			return err
		}
	}
	if shares, err := o.sharing(); err != nil {
		return err
	} else if shares {
		if err := notUnique(disk, dir); err != nil {
			return err
		}
	}
	return supply(disk, dir, Options{})
}

func (o *Observed) has(kind FaultKind) bool {
	for _, f := range o.Faults {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// testOnlyObserved is called between the look at the database and what is done on the strength of it.
var testOnlyObserved func()

// mendIndex gives orphans their rows and cuts a torn last row off, after a copy.
func mendIndex(disk *durable.Disk, o *Observed) error {
	dir := o.Dir.Path
	path := filepath.Join(dir, indexName)
	have := durable.Read(path, maxIndex)
	if have.Err != nil {
		return have.Err
	}
	if seen := o.db.node; have.Kind != seen.Kind || have.Exists != seen.Exists || have.Exists && !same(have, seen) {
		return fmt.Errorf("%s: %w", path, errMoved)
	}
	torn := o.db.torn || o.cutRepairable()
	var rows []Entry
	for _, or := range o.orphans() {
		if or.err == nil {
			rows = append(rows, or.row)
		}
	}
	again := o.revokedAgain()
	if !torn && !o.db.blank && !o.db.open() && len(rows) == 0 && len(again) == 0 && have.Exists {
		return nil
	}
	if !have.Exists {
		before, err := interruptedIndex(dir)
		if err != nil {
			return err
		}
		rows = missingFrom(before, rows, &have.Data)
	}
	if torn {
		if err := keepAside(disk, path); err != nil {
			return err
		}
	}
	data := have.Data
	if torn {
		data = data[:lastLine(data)]
	} else if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data[:len(data):len(data)], '\n')
	}
	data = withoutBlanks(replaceRows(data, again))
	for _, e := range rows {
		o.db.seeNumber(e.Serial)
		data = append(data, formatIndex([]Entry{e})...)
	}
	if !saysNotUnique(dir) && sharedSubject(data) { // the attribute first: openssl must never meet the rows without it
		if err := notUnique(disk, dir); err != nil {
			return err
		}
	}
	return put(disk, path, data, publicMode)
}

// sharedSubject says that two valid rows have one subject.
func sharedSubject(data []byte) bool {
	rows, _ := ParseIndex(data)
	seen := map[string]string{}
	for i := range rows {
		if e := &rows[i]; e.Err == nil && e.Status == Valid {
			if was, other := seen[e.Subject]; other && was != e.serial() {
				return true
			}
			seen[e.Subject] = e.serial()
		}
	}
	return false
}

// withoutBlanks is a copy without empty lines.
func withoutBlanks(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) > 0 {
			out = append(out, line...)
		}
	}
	return out
}

// reasonOf is the word for a code of RFC 5280 5.3.1; "" for 0 and for one that
// index.txt has no word for.
func reasonOf(code int) string {
	for word, c := range Reasons() {
		if c == code && c != 0 {
			return word
		}
	}
	return ""
}

// keepAside copies a file that is about to be repaired to NAME.bad-TIME. What a loss of power leaves of the small files
// of a new CA holds nothing that anybody could miss.
func keepAside(disk *durable.Disk, path string) error {
	n := durable.Read(path, maxIndex)
	if n.Err != nil || strings.HasPrefix(firstNumber, string(n.Data)) || strings.HasPrefix(firstAttr, string(n.Data)) ||
		len(bytes.Trim(n.Data, "\x00")) == 0 {
		return n.Err
	}
	return disk.Replace(fmt.Sprintf("%s.bad-%d", path, n.Modified.UnixNano()), n.Data, publicMode)
}

// Aside says that name, in the CA directory, is a copy that was made before a file of the database was repaired. It may
// hold what is nowhere else.
func Aside(name string) bool {
	base, tail, ok := strings.Cut(name, ".bad-")
	if !ok || tail == "" || strings.Trim(tail, "0123456789") != "" {
		return false
	}
	return base == indexName || base == serialName || base == attrName || base == crlNumName
}

func lastLine(data []byte) int {
	for i := len(data) - 1; i >= 0; i-- {
		if data[i] == '\n' {
			return i + 1
		}
	}
	return 0
}

// entryFor is the row of a certificate that was just issued. An empty subject
// is written as the serial number, as openssl has it.
func entryFor(c *x509.Certificate) Entry {
	e := Entry{Status: Valid, Expires: c.NotAfter, Serial: c.SerialNumber, File: "unknown",
		Subject: pki.OneLine(c.RawSubject)}
	if e.Subject == "" {
		e.Subject = FormatSerial(e.Serial)
	}
	return e
}

func writeSerial(disk *durable.Disk, dir string, n *big.Int) error {
	return put(disk, filepath.Join(dir, serialName), []byte(FormatSerial(n)+"\n"), publicMode)
}

// notUnique makes index.txt.attr allow two valid rows of one subject: a
// renewal has the subject of the certificate before it.
func notUnique(disk *durable.Disk, dir string) error {
	if saysNotUnique(dir) {
		return nil
	}
	if err := keepAside(disk, filepath.Join(dir, attrName)); err != nil {
		return err
	}
	return put(disk, filepath.Join(dir, attrName), []byte(firstAttr), publicMode)
}

// supply writes the small files that are missing and changes none that is there.
func supply(disk *durable.Disk, dir string, o Options) error {
	missing := func(name string) bool { return durable.Look(filepath.Join(dir, name)).Kind == durable.Missing }
	conf0 := missing(confName)
	if (missing(crlNumName) || unnumbered(dir)) && (conf0 || confBegins(dir, confMark)) {
		n, err := crlNumber(filepath.Join(dir, crlName))
		if err != nil {
			return err
		}
		if err := keepAside(disk, filepath.Join(dir, crlNumName)); err != nil {
			return err
		}
		if err := put(disk, filepath.Join(dir, crlNumName), []byte(FormatSerial(n)+"\n"), publicMode); err != nil {
			return err
		}
	}
	if conf0 {
		return disk.Replace(filepath.Join(dir, confName), conf(o, suppliedFor), publicMode)
	}
	if data := newerConf(dir); data != nil {
		return put(disk, filepath.Join(dir, confName), data, publicMode)
	}
	return nil
}

// unnumbered says that crlnumber is a file without a number in it, because of which `openssl ca -gencrl` fails.
func unnumbered(dir string) bool {
	n := durable.Read(filepath.Join(dir, crlNumName), maxFile)
	if n.Err != nil || !n.IsRegular {
		return false // that is told elsewhere
	}
	_, err := parseSerial(strings.TrimSpace(string(n.Data)))
	return err != nil || !opensslReads(n.Data)
}

// crlNumber is the number after the one in a CRL, 1 without one.
func crlNumber(path string) (*big.Int, error) {
	n := durable.Read(path, maxIndex)
	if n.Unread() {
		return nil, n.Err
	}
	if b, _ := pem.Decode(n.Data); b != nil {
		if crl, err := x509.ParseRevocationList(b.Bytes); err == nil && crl.Number != nil && crl.Number.Sign() >= 0 {
			return new(big.Int).Add(crl.Number, big.NewInt(1)), nil
		}
	}
	return big.NewInt(1), nil
}
