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
	"sort"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Reconcile mends every mendable fault and returns those that it found. It is
// monotone: no row is ever deleted, none is changed but that of who stands in a
// CRL, which is revoked, and the serial only rises. serving is the certificate that this host has
// installed, nil for none: where a generation issued it and the database lacks
// it, as after an `openssl ca` that wrote its own old copy back, it is put back.
func Reconcile(ctx context.Context, disk *durable.Disk, dir string, serving *x509.Certificate) ([]Fault, error) {
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
	if before.has(FaultUnlisted) {
		if err := putBack(disk, dir, serving); err != nil {
			return found, err
		}
	}
	for _, f := range found {
		if f.Kind == FaultMode && f.Mendable {
			mode := fs.FileMode(keyMode)
			if filepath.Clean(f.Path) == filepath.Clean(dir) {
				mode = dirMode
			}
			if err := disk.Chmod(resolved(f.Path), mode); err != nil {
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
	return disk.Replace(resolved(path), data, mode)
}

func resolved(path string) string {
	if r := durable.Look(path).Resolved; r != "" {
		return r
	}
	return path
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
	nobody := Filter{Name: "."} // no host is called that: nothing is read for it
	o := m.Observe(dir, nobody)
	if o.Err != nil {
		return o, o.Err
	}
	if o.Status == Absent || o.Status == Unfinished || len(o.Faults) == 0 {
		return o, nil
	}
	m.Forget()
	if o.rewrites() { // what was read may have been the half of a file
		if err := rested(dir); err != nil {
			return o, err
		}
		if o = m.Observe(dir, nobody); o.Err != nil {
			return o, o.Err
		}
	}
	if err := mend(disk, dir, &o); err != nil {
		return o, err
	}
	o = m.Observe(dir, nobody)
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
	if want := o.db.nextSerial(o.Serial); o.serialErr == nil && (o.Serial == nil || o.Serial.Cmp(want) != 0) {
		if o.Serial == nil { // not a number: somebody may want to know what it was
			if err := keepAside(disk, filepath.Join(dir, serialName)); err != nil {
				return err
			}
		}
		if err := writeSerial(disk, dir, want); err != nil {
			return err
		}
	}
	if !saysNotUnique(dir) && o.db.sharing() {
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

// mendIndex gives orphans their rows and cuts a torn last row off, after a copy.
func mendIndex(disk *durable.Disk, o *Observed) error {
	dir := o.Dir.Path
	path := filepath.Join(dir, indexName)
	have := durable.Read(path, maxIndex)
	if have.Err != nil {
		return have.Err
	}
	torn := o.db.torn || o.cutMendable()
	var rows []Entry
	for _, or := range o.orphans() {
		if or.err == nil {
			rows = append(rows, or.row)
		}
	}
	again := o.revokedAgain()
	if !torn && !o.db.blank && len(rows) == 0 && len(again) == 0 && have.Exists {
		return nil
	}
	if !have.Exists {
		rows = missingFrom(interruptedIndex(dir), rows, &have.Data)
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
		o.db.addRow(e)
		data = append(data, formatIndex([]Entry{e})...)
	}
	o.Index = o.db.rows
	if !saysNotUnique(dir) && o.db.sharing() { // the attribute first: openssl must never meet the rows without it
		if err := notUnique(disk, dir); err != nil {
			return err
		}
	}
	return put(disk, path, data, publicMode)
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

// stray is a certificate in newcerts without a row, a crash's leavings.
type stray struct {
	name string
	row  Entry     // that it gets
	err  error     // why it gets none
	from time.Time // when it begins
}

func (s stray) drawn() bool { return s.row.Serial != nil && s.row.Serial.BitLen() > maxCounted }

// orphans finds them, with their rows: revoked where a CRL has them.
func (o *Observed) orphans() []stray {
	var out []stray
	var revoked map[string]x509.RevocationListEntry
	for _, n := range o.db.orphans {
		cs, err := readCerts(filepath.Join(o.Dir.Path, newCertsName, n))
		if err != nil {
			out = append(out, stray{name: n, err: err})
			continue
		}
		if len(cs) == 0 {
			continue
		}
		if revoked == nil {
			revoked = o.CRL.inLists()
		}
		or := stray{name: n, row: entryFor(cs[0]), from: cs[0].NotBefore}
		r, listed := revoked[FormatSerial(cs[0].SerialNumber)]
		switch {
		case listed && r.ReasonCode != removed:
			or.row.Status, or.row.Revoked, or.row.Reason = Revoked, r.RevocationTime, reasonOf(r.ReasonCode)
		case o.CRL.err() != nil:
			or.err = fmt.Errorf("whether it was revoked cannot be told: %w", o.CRL.err())
		case o.db.lost:
			or.err = errors.New("it may be whom the unreadable row of index.txt revokes")
		case o.Current.Cert == nil:
			or.err = errors.New("whether it was revoked cannot be told without the CA certificate")
		}
		out = append(out, or)
	}
	sort.SliceStable(out, func(i, j int) bool { // as they were issued: counted serials say it, and drawn ones say nothing
		return out[i].drawn() && out[j].drawn() && out[i].from.Before(out[j].from) || !out[i].drawn() && out[j].drawn()
	})
	return out
}

// cutMendable says that the cut-off revocation at the end of index.txt is that of
// the one certificate that has no row: a CRL has it.
func (o *Observed) cutMendable() bool {
	last := len(o.Index) - 1
	if last < 0 || o.Index[last].Err != errCut {
		return false
	}
	all := o.orphans()
	return len(all) == 1 && all[0].row.Status == Revoked
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

// keepAside copies a file that is about to be mended to NAME.bad-TIME.
func keepAside(disk *durable.Disk, path string) error {
	n := durable.Read(path, maxIndex)
	if n.Err != nil || len(n.Data) == 0 {
		return n.Err
	}
	return disk.Replace(fmt.Sprintf("%s.bad-%d", path, n.Modified.UnixNano()), n.Data, publicMode)
}

// aside says that name is a copy that keepAside made.
func aside(name string) bool {
	base, tail, ok := strings.Cut(name, ".bad-")
	if !ok || tail == "" || strings.Trim(tail, "0123456789") != "" {
		return false
	}
	return base == indexName || base == serialName || base == attrName
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
// stands there as the serial number, as openssl has it.
func entryFor(c *x509.Certificate) Entry {
	e := Entry{Status: Valid, Expires: c.NotAfter, Serial: c.SerialNumber, File: "unknown", Subject: pki.OneLine(c.RawSubject)}
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
	return put(disk, filepath.Join(dir, attrName), []byte("unique_subject = no\n"), publicMode)
}

// supply writes the small files that are missing and changes none that is there.
func supply(disk *durable.Disk, dir string, o Options) error {
	missing := func(name string) bool { return durable.Look(filepath.Join(dir, name)).Kind == durable.Missing }
	conf0 := missing(confName)
	if missing(crlNumName) && (conf0 || confBegins(dir, confMark)) {
		n, err := crlNumber(filepath.Join(dir, crlName))
		if err != nil {
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

// crlNumber is the number after the one in a CRL, 1 without one.
func crlNumber(path string) (*big.Int, error) {
	n := durable.Read(path, maxIndex)
	if n.Err != nil && !misplaced(n.Err) {
		return nil, n.Err
	}
	if b, _ := pem.Decode(n.Data); b != nil {
		if crl, err := x509.ParseRevocationList(b.Bytes); err == nil && crl.Number != nil && crl.Number.Sign() >= 0 {
			return new(big.Int).Add(crl.Number, big.NewInt(1)), nil
		}
	}
	return big.NewInt(1), nil
}
