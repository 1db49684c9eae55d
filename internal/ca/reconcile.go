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
)

// Reconcile repairs every fault that is Repairable and returns the faults that it found, repaired or not. It deletes no
// row, and changes a row only to revoke what a CRL lists; the serial only rises.
//
// serving are the certificates that this host has installed; nil ones are ignored. One that a generation issued and
// that the database lacks is put back: an `openssl ca` that was running when it was signed has written its own older
// copy of the database.
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
		if !lacks(found, c) {
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

// put replaces the content of a file in the CA directory. A symbolic link stays, and its target is replaced, because a
// person may keep index.txt elsewhere.
func put(disk *durable.Disk, path string, data []byte, mode fs.FileMode) error {
	to, err := resolved(path)
	if err != nil {
		return err
	}
	return disk.Replace(to, data, mode)
}

// resolved is the target of a link, or path itself where it is no link or does not exist. Where the target cannot be
// found out it returns the error: a write to path would replace the link.
func resolved(path string) (string, error) {
	switch n := durable.Look(path).Located(); {
	case n.Err != nil:
		return "", n.Err
	case n.Resolved != "":
		return n.Resolved, nil
	}
	return path, nil
}

// reconcile is Reconcile for a caller that holds the lock. It returns the CA as it is afterwards.
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
	m.forget()
	for patient := newPatience(); ; {
		if rewrites(o.Faults) { // another program may have been in the middle of writing it
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
		if m.forget(); !errors.Is(err, errMoved) || !patient.wait() {
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
	if err := o.db.unread(); err != nil { // every certificate would seem to have no row
		return err
	}
	if err := disk.Mkdir(filepath.Join(dir, NewCertsDir), dirMode); err != nil {
		return err
	}
	if durable.Look(o.path(nextName)).IsDir && !o.HasNext() && has(o.Faults, FaultInterrupted) {
		if err := dropNext(disk, dir); err != nil {
			return err
		}
	}
	for _, name := range leftovers(o) {
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
		if o.Serial == nil { // not a number: keep a copy for a person to look at
			if err := keepAside(disk, filepath.Join(dir, serialName)); err != nil {
				return err
			}
		}
		if err := writeSerial(disk, dir, want); err != nil {
			return err
		}
	}
	if shares, err := sharing(o); err != nil {
		return err
	} else if shares {
		if err := notUnique(disk, dir); err != nil {
			return err
		}
	}
	return supply(disk, dir, Options{})
}

// testOnlyObserved is called between the observation of the database and its change.
var testOnlyObserved func()

// reasonOf is the word of index.txt for a reason code of RFC 5280 5.3.1; "" for 0 and for a code without a word.
func reasonOf(code int) string {
	for word, c := range Reasons() {
		if c == code && c != 0 {
			return word
		}
	}
	return ""
}

// keepAside copies a file that is about to be repaired to NAME.bad-TIME. It makes no copy where the content says
// nothing: empty, NUL octets, or the beginning of what a new CA has, as a power failure may leave.
func keepAside(disk *durable.Disk, path string) error {
	n := durable.Read(path, maxIndex)
	if n.Err != nil || strings.HasPrefix(firstNumber, string(n.Data)) || strings.HasPrefix(firstAttr, string(n.Data)) ||
		len(bytes.Trim(n.Data, "\x00")) == 0 {
		return n.Err
	}
	return disk.Replace(fmt.Sprintf("%s.bad-%d", path, n.Modified.UnixNano()), n.Data, publicMode)
}

// Aside says whether name, in the CA directory, is a copy that keepAside made. It may be the only copy of its content.
func Aside(name string) bool {
	base, tail, ok := strings.Cut(name, ".bad-")
	if !ok || tail == "" || strings.Trim(tail, "0123456789") != "" {
		return false
	}
	return base == indexName || base == serialName || base == attrName || base == crlNumName
}

func writeSerial(disk *durable.Disk, dir string, n *big.Int) error {
	return put(disk, filepath.Join(dir, serialName), []byte(FormatSerial(n)+"\n"), publicMode)
}

// notUnique makes index.txt.attr allow two valid rows of one subject, because a renewed certificate has the subject of
// the one before it.
func notUnique(disk *durable.Disk, dir string) error {
	if saysNotUnique(dir) {
		return nil
	}
	if err := keepAside(disk, filepath.Join(dir, attrName)); err != nil {
		return err
	}
	return put(disk, filepath.Join(dir, attrName), []byte(firstAttr), publicMode)
}

// supply writes the small files that are missing: crlnumber, but only for a CA whose openssl.cnf is missing or is ours,
// and openssl.cnf. It replaces an openssl.cnf that is byte for byte an older text of mailcertd, and a crlnumber without
// a number.
func supply(disk *durable.Disk, dir string, o Options) error {
	missing := func(name string) bool { return durable.Look(filepath.Join(dir, name)).Kind == durable.Missing }
	conf0 := missing(confName)
	if (missing(crlNumName) || unnumbered(dir)) && (conf0 || confBegins(dir, confMark)) {
		n, err := crlNumber(filepath.Join(dir, CRLName))
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

// unnumbered says whether crlnumber is a file without a number, with which `openssl ca -gencrl` fails.
func unnumbered(dir string) bool {
	n := durable.Read(filepath.Join(dir, crlNumName), maxFile)
	if n.Err != nil || !n.IsRegular {
		return false // reported as a fault of its own
	}
	_, err := parseSerial(strings.TrimSpace(string(n.Data)))
	return err != nil || !opensslReads(n.Data)
}

// crlNumber is one more than the number of the CRL in path; 1 where there is none.
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
