package ca

import (
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
)

// FaultKind is what is wrong with the CA directory.
type FaultKind string

// The faults, in the words that are told.
const (
	FaultInterrupted  FaultKind = "an interrupted change of generation"
	FaultOrphan       FaultKind = "a certificate without a row in index.txt"
	FaultIndexMissing FaultKind = "index.txt is missing"
	FaultIndexRow     FaultKind = "a row that cannot be read"
	FaultIndexTorn    FaultKind = "the last row is incomplete"
	FaultUnique       FaultKind = "two valid rows of one subject, and unique_subject is not no: openssl ca fails"
	FaultSerial       FaultKind = "the next serial number is missing, unreadable or in use"
	FaultCRLNumber    FaultKind = "crlnumber is missing"
	FaultConf         FaultKind = "openssl.cnf is missing"
	FaultMode         FaultKind = "is open to others"
	FaultKey          FaultKind = "the CA key is missing or cannot be used"
	FaultCert         FaultKind = "the CA certificate is missing or cannot be used"
	FaultPair         FaultKind = "the CA key does not belong to the CA certificate"
	FaultNewCerts     FaultKind = "newcerts is missing"
)

// Fault is one thing that is wrong.
type Fault struct {
	Kind      FaultKind
	Path      string
	Want, Got string
	Mendable  bool // Reconcile mends it; else a person must
}

func (o *Observed) fault(kind FaultKind, name string, mendable bool, want, got string) {
	o.Faults = append(o.Faults, Fault{Kind: kind, Path: filepath.Join(o.Dir.Path, name), Want: want, Got: got, Mendable: mendable})
}

func (o *Observed) faults(index durable.Node, torn bool, newCerts []string) {
	dir := o.Dir.Path
	look := func(name string) durable.Node { return durable.Look(filepath.Join(dir, name)) }
	if p, err := durable.OpenSet(nil, dir).Pending(); err == nil && (p.Journal || p.Damaged || p.Empty || len(p.Staged) > 0) {
		o.fault(FaultInterrupted, "", true, "", "")
	}
	o.modes()
	if o.Status == Unfinished {
		return // finishing it makes the rest
	}
	switch {
	case o.KeyInfo.Err != nil && !o.KeyInfo.Encrypted:
		o.fault(FaultKey, keyName, false, "", reason(o.KeyInfo.Err))
	case o.Current.Cert == nil:
		o.fault(FaultCert, certName, false, "", "")
	case o.Status == Damaged:
		o.fault(FaultPair, keyName, false, "", "")
	}
	if look(newCertsName).Kind == durable.Missing {
		o.fault(FaultNewCerts, newCertsName, true, "", "")
	}
	if index.Kind == durable.Missing {
		o.fault(FaultIndexMissing, indexName, true, "", "")
	} else if index.Err != nil {
		o.fault(FaultIndexRow, indexName, false, "", index.Err.Error())
	}
	if torn {
		o.fault(FaultIndexTorn, indexName, true, "", "")
	}
	for _, e := range o.Index {
		if e.Err != nil {
			o.fault(FaultIndexRow, fmt.Sprintf("%s:%d", indexName, e.Line), false, "", e.Err.Error())
		}
	}
	for _, name := range o.orphans(newCerts) {
		o.fault(FaultOrphan, filepath.Join(newCertsName, name), true, "", "")
	}
	if o.sharesSubject() && !saysNotUnique(dir) {
		o.fault(FaultUnique, attrName, true, "unique_subject = no", "")
	}
	if want := o.nextSerial(newCerts); o.Serial == nil || o.Serial.Cmp(want) != 0 {
		got := "nothing"
		if o.Serial != nil {
			got = FormatSerial(o.Serial)
		}
		o.fault(FaultSerial, serialName, true, FormatSerial(want), got)
	}
	if MadeHere(dir) && look(crlNumName).Kind == durable.Missing {
		o.fault(FaultCRLNumber, crlNumName, true, "", "")
	}
	if look(confName).Kind == durable.Missing {
		o.fault(FaultConf, confName, true, "", "")
	}
}

func reason(err error) string {
	if err == fs.ErrNotExist {
		return "it is missing"
	}
	return err.Error()
}

// modes: nobody but the owner may look into the directory or read a key.
func (o *Observed) modes() {
	if m := o.Dir.Mode.Perm(); m&0o077 != 0 {
		o.fault(FaultMode, "", true, "0700", fmt.Sprintf("%04o", m))
	}
	keys := []string{keyName}
	for _, g := range o.Older {
		keys = append(keys, filepath.Join(filepath.Base(g.Dir), keyName))
	}
	for _, k := range keys {
		n := durable.Look(filepath.Join(o.Dir.Path, k))
		if n.Exists && n.Mode.Perm()&0o077 != 0 {
			o.fault(FaultMode, k, n.Kind == durable.File, "0600", fmt.Sprintf("%04o", n.Mode.Perm()))
		}
	}
}

// orphans are the files in newcerts without a row, a crash's leavings.
func (o *Observed) orphans(newCerts []string) []string {
	known := map[string]bool{}
	for _, e := range o.Index {
		if e.Err == nil {
			known[FormatSerial(e.Serial)+".pem"] = true
		}
	}
	var out []string
	for _, n := range newCerts {
		if !known[n] && len(readCerts(filepath.Join(o.Dir.Path, newCertsName, n))) > 0 {
			out = append(out, n)
		}
	}
	return out
}

func (o *Observed) sharesSubject() bool {
	seen := map[string]bool{}
	for _, e := range o.Index {
		if e.Err != nil || e.Status != Valid {
			continue
		}
		if seen[e.Subject] {
			return true
		}
		seen[e.Subject] = true
	}
	return false
}

// saysNotUnique reads index.txt.attr, which overrules openssl.cnf.
func saysNotUnique(dir string) bool {
	n := durable.Read(filepath.Join(dir, attrName), maxFile)
	for _, line := range strings.Split(string(n.Data), "\n") {
		k, v, _ := strings.Cut(line, "=")
		if strings.TrimSpace(k) == "unique_subject" {
			return strings.HasPrefix(strings.ToLower(strings.TrimSpace(v)), "n")
		}
	}
	return false
}

// maxCounted tells serials that were counted up from random ones, in bits.
const maxCounted = 63

// nextSerial is the serial file's number, or the first above everything seen
// when that is lower or missing. Random serials are not counted from: the file
// goes on where it is, and what is in use is passed over.
func (o *Observed) nextSerial(newCerts []string) *big.Int {
	next, used := big.NewInt(1), map[string]bool{}
	see := func(n *big.Int) {
		used[n.String()] = true
		if n.BitLen() <= maxCounted && n.Cmp(next) >= 0 {
			next.Add(n, big.NewInt(1))
		}
	}
	for _, e := range o.Index {
		if e.Err == nil {
			see(e.Serial)
		}
	}
	for _, name := range newCerts {
		if n, err := parseSerial(strings.TrimSuffix(name, ".pem")); err == nil {
			see(n)
		}
	}
	if o.Serial != nil && o.Serial.Sign() > 0 && o.Serial.Cmp(next) > 0 {
		next.Set(o.Serial)
	}
	for used[next.String()] {
		next.Add(next, big.NewInt(1))
	}
	return next
}
