package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// FaultKind is a kind of damage in the CA directory.
type FaultKind string

// The kinds of faults. Status and check print these words.
const (
	FaultInterrupted  FaultKind = "an interrupted change of generation"
	FaultOrphan       FaultKind = "a certificate without a row in index.txt"
	FaultIndexMissing FaultKind = "index.txt is missing"
	FaultIndexFile    FaultKind = "index.txt cannot be read"
	FaultIndexRow     FaultKind = "a row that cannot be read"
	FaultIndexRefused FaultKind = "a row that makes openssl ca fail"
	FaultIndexBlank   FaultKind = "an empty line, which makes openssl ca fail"
	FaultIndexTorn    FaultKind = "the last row is incomplete"
	FaultIndexOpen    FaultKind = "the last row has no line end, and openssl ca drops it"
	FaultUnrevoked    FaultKind = "the CRL lists it as revoked, and index.txt as valid"
	FaultUnique       FaultKind = "two valid rows of one subject, and unique_subject is not no: openssl ca fails"
	FaultSerial       FaultKind = "the next serial number is missing, unreadable or in use"
	FaultCRLNumber    FaultKind = "crlnumber is missing, or is not a number"
	FaultConf         FaultKind = "openssl.cnf is missing"
	FaultInTheWay     FaultKind = "another kind of file has its name"
	FaultMode         FaultKind = "others have access to it"
	FaultKey          FaultKind = "the CA key is missing or cannot be used"
	FaultCert         FaultKind = "the CA certificate is missing or cannot be used"
	FaultPair         FaultKind = "the CA key does not belong to the CA certificate"
	FaultNewCerts     FaultKind = "newcerts is missing"
	FaultNext         FaultKind = "the next generation is incomplete"
	FaultUnlisted     FaultKind = "the certificate that this host serves is missing from the database"
	FaultTaken        FaultKind = "another certificate has the serial number of the one that this host serves"
	FaultIndexOther   FaultKind = "the row of the certificate that this host serves is not that certificate's"
	FaultLeftover     FaultKind = "a temporary file from an interrupted write"
	FaultConfOld      FaultKind = "openssl.cnf is from an earlier mailcertd, and makes openssl count serial numbers"
	FaultKeyElsewhere FaultKind = "the CA key is in another place"
	FaultMembers      FaultKind = "the list of members cannot be read"
)

// Fault is one defect of the CA directory.
type Fault struct {
	Kind       FaultKind
	Path       string
	Want, Got  string
	Repairable bool // Reconcile repairs it; else a person must
	// Hint is what a person can do; "": the manual says it.
	Hint string
	// Since is when the file was last written; for FaultLeftover alone. A young one may still be in use.
	Since time.Time
}

func (o *Observed) fault(kind FaultKind, name string, repairable bool, want, got string) {
	o.Faults = append(o.Faults, Fault{Kind: kind, Path: filepath.Join(o.Dir.Path, name), Want: want, Got: got,
		Repairable: repairable})
}

func (o *Observed) faults() {
	dir, index := o.Dir.Path, o.db.node
	look := func(name string) durable.Node { return durable.Look(filepath.Join(dir, name)) }
	if p, err := durable.OpenSet(nil, dir).Pending(); err != nil || p.Err != nil {
		o.fault(FaultInterrupted, "", false, "", errors.Join(err, p.Err).Error())
	} else if p.Journal || p.Damaged || p.Empty || len(p.Staged) > 0 {
		o.fault(FaultInterrupted, "", true, "", "")
	}
	o.modes()
	if o.Status == Unfinished {
		return // finishing it makes the rest
	}
	switch {
	case o.Key.Kind == durable.Missing && look(caplKeyName).Exists:
		o.fault(FaultKeyElsewhere, caplKeyName, false, keyName, "")
		o.Faults[len(o.Faults)-1].Hint = fmt.Sprintf(
			"CA.pl and the standard openssl.cnf keep it there; to make mailcertd adopt this CA, run "+
				"`install -m 0600 %s %s`", filepath.Join(dir, caplKeyName), filepath.Join(dir, keyName))
	case o.KeyInfo.Err != nil && !o.KeyInfo.Encrypted:
		o.fault(FaultKey, keyName, false, "", reason(o.KeyInfo.Err))
		o.Faults[len(o.Faults)-1].Hint = converted(o.KeyInfo.Err, filepath.Join(dir, keyName))
	case o.Current.Cert == nil:
		n := durable.Read(filepath.Join(dir, certName), maxFile)
		err := n.Err
		switch {
		case err == nil && !n.Exists:
			err = fs.ErrNotExist
		case err == nil:
			err = pki.ReadCertFile(n.Data).Err
		}
		o.fault(FaultCert, certName, false, "", reason(err))
		o.Faults[len(o.Faults)-1].Hint = converted(err, n.Path)
	case !o.signs():
		o.fault(FaultCert, certName, false, "", unusable(o.Current.Cert).Error())
	case o.Status == Damaged:
		o.fault(FaultPair, keyName, false, "", "")
	}
	for _, name := range o.leftovers() {
		o.fault(FaultLeftover, name, true, "", "")
		o.Faults[len(o.Faults)-1].Since = look(name).Modified
	}
	if look(newCertsName).Kind == durable.Missing {
		o.fault(FaultNewCerts, newCertsName, true, "", "")
	}
	if index.Kind == durable.Missing {
		o.fault(FaultIndexMissing, indexName, true, "", "")
	} else if index.Err != nil {
		o.fault(FaultIndexFile, indexName, false, "", index.Err.Error())
	}
	if o.db.blank {
		o.fault(FaultIndexBlank, indexName, true, "", "")
	}
	if o.db.torn {
		o.fault(FaultIndexTorn, indexName, true, "", "")
	}
	if o.db.open() {
		o.fault(FaultIndexOpen, indexName, true, "", "")
	}
	o.oddRows()
	for _, serial := range o.unrevoked() {
		e, _ := o.db.row(serial)
		o.fault(FaultUnrevoked, fmt.Sprintf("%s:%d", indexName, e.Line), true, "", "serial "+serial)
	}
	for _, or := range o.orphans() {
		got := ""
		if or.err != nil {
			got = or.err.Error()
		}
		o.fault(FaultOrphan, filepath.Join(newCertsName, or.name), or.err == nil, "", got)
	}
	if shares, err := o.sharing(); err != nil {
		o.unreadLater(err)
	} else if shares {
		o.fault(FaultUnique, attrName, true, "unique_subject = no", "")
	}
	if o.serialErr != nil {
		o.fault(FaultSerial, serialName, false, "", o.serialErr.Error())
	} else if want, err := o.db.nextSerial(o.Serial); err != nil {
		o.unreadLater(err)
	} else if o.serialOdd || o.Serial == nil || o.Serial.Cmp(want) != 0 {
		got := "nothing"
		if o.serialOdd {
			got = "a number that openssl cannot read as it is written"
		} else if o.Serial != nil {
			got = FormatSerial(o.Serial)
		}
		o.fault(FaultSerial, serialName, true, FormatSerial(want), got)
	}
	if ours := confBegins(dir, confMark); ours && look(crlNumName).Kind == durable.Missing || unnumbered(dir) {
		o.fault(FaultCRLNumber, crlNumName, ours, "", "")
	}
	o.inTheWay()
	if look(confName).Kind == durable.Missing {
		o.fault(FaultConf, confName, true, "", "")
	} else if newerConf(dir) != nil {
		o.fault(FaultConfOld, confName, true, "rand_serial = yes", "")
	}
}

// unreadLater notes that a second pass over index.txt failed, although the first could read it.
func (o *Observed) unreadLater(err error) {
	if o.db.unread() == nil {
		o.db.node.Err = err
		o.fault(FaultIndexFile, indexName, false, "", err.Error())
	}
}

// sharing says that two valid rows have the same subject, and index.txt.attr does not allow that: `openssl ca` then
// fails.
func (o *Observed) sharing() (bool, error) {
	if saysNotUnique(o.Dir.Path) || o.db.unread() != nil {
		return false, nil
	}
	return o.db.sharing()
}

// mostOddRows is how many defective rows are reported one by one; one line counts the rest.
const mostOddRows = 100

// oddRows reports rows that cannot be read, and rows because of which openssl refuses index.txt.
func (o *Observed) oddRows() {
	for i, e := range o.db.odd {
		where := fmt.Sprintf("%s:%d", indexName, e.Line)
		switch {
		case i == mostOddRows:
			o.fault(FaultIndexRow, where, false, "",
				fmt.Sprintf("and %d rows after it have the same fault", len(o.db.odd)-i-1))
			return
		case e.Err == errCut && o.cutRepairable():
			o.fault(FaultIndexTorn, where, true, "", e.Err.Error()+"; the CRL names the certificate")
		case e.Err == errCut:
			o.fault(FaultIndexTorn, where, false, "", e.Err.Error()+", and no CRL names the certificate")
		case e.Err != nil:
			o.fault(FaultIndexRow, where, false, "", e.Err.Error())
		default:
			o.fault(FaultIndexRefused, where, false, "", e.refused)
		}
	}
}

// reason says why a file of the CA cannot be used. A nil error means that the file was unusable when it was read and is
// usable by now.
func reason(err error) string {
	switch {
	case err == nil:
		return "it changed while it was read"
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing"
	}
	return err.Error()
}

// converted is the hint for a file of the CA that is not in PEM, the only form that openssl ca reads; "" where err has
// another cause.
func converted(err error, path string) string {
	c := pki.ConversionOf(err, path)
	if c.Command == "" {
		return c.Advice
	}
	return "run `" + c.Command + " && mv " + c.Out + " " + c.In + "`"
}

// modes reports a CA directory, a key file or a list of members to which other users than the owner have access.
func (o *Observed) modes() {
	if m := o.Dir.Mode.Perm(); m&0o077 != 0 {
		o.fault(FaultMode, "", true, "0700", fmt.Sprintf("%04o", m))
	}
	keys := []string{keyName}
	for _, g := range o.Older {
		keys = append(keys, filepath.Join(filepath.Base(g.Dir), keyName))
	}
	keys = append(keys, filepath.Join(nextName, keyName), membersName)
	for _, k := range keys {
		n := durable.Look(filepath.Join(o.Dir.Path, k))
		if n.Exists && n.Mode.Perm()&0o077 != 0 {
			o.fault(FaultMode, k, n.Kind == durable.File, "0600", fmt.Sprintf("%04o", n.Mode.Perm()))
		}
	}
}

// unrevoked finds certificates that are in a CRL but valid in index.txt: an old index.txt was restored, or an `openssl
// ca` that waited at its prompt wrote the copy that it had read before the revocation. The next `openssl ca -gencrl`
// would drop them from the CRL. A revocation is permanent (RFC 5280 5.3), so mailcertd revokes the row again; only a
// certificate on hold may become valid again.
func (o *Observed) unrevoked() (serials []string) {
	listed := o.CRL.inLists()
	for _, serial := range slices.Sorted(maps.Keys(listed)) {
		if code := listed[serial].ReasonCode; code == onHold || code == removed {
			continue
		}
		if e, known := o.db.row(serial); known && e.Status == Valid && e.refused == "" {
			serials = append(serials, serial)
		}
	}
	return serials
}

// saysNotUnique says that index.txt.attr, which has precedence over openssl.cnf, allows two valid rows with one
// subject. It also returns true where the file cannot be read, so that nothing is written over it.
func saysNotUnique(dir string) bool {
	n := durable.Read(filepath.Join(dir, attrName), maxFile)
	if n.Err != nil {
		return true // not known: nothing is written over it
	}
	for line := range strings.SplitSeq(string(n.Data), "\n") {
		k, v, _ := strings.Cut(line, "=")
		if strings.TrimSpace(k) == "unique_subject" {
			return strings.HasPrefix(strings.ToLower(strings.TrimSpace(v)), "n")
		}
	}
	return false
}

// inTheWay reports directories, dangling links and special files in place of the files that `openssl ca` reads, and
// other files in place of its directories. It leaves out what was reported as another fault.
func (o *Observed) inTheWay() {
	for _, name := range []string{newCertsName, nextName, confName, attrName, serialName, crlNumName, indexName,
		certName, keyName} {
		n := durable.Look(filepath.Join(o.Dir.Path, name))
		want, got := "a file", ""
		if name == newCertsName || name == nextName {
			want = "a directory"
		}
		switch {
		case n.Kind == durable.Missing || slices.ContainsFunc(o.Faults, func(f Fault) bool { return f.Path == n.Path }):
		case n.Kind == durable.Link && !n.Exists:
			got = "a link to " + n.Target + ", which does not exist"
		case n.Err != nil && !errors.Is(n.Err, durable.ErrNotRegular):
			got = n.Err.Error()
		case n.IsDir && want == "a file":
			got = "a directory"
		case !n.IsDir && want == "a directory":
			got = "a file"
		case !n.IsDir && !n.IsRegular:
			got = "a special file"
		}
		if got != "" {
			o.fault(FaultInTheWay, name, false, want, got)
			o.Faults[len(o.Faults)-1].Hint = "move it away; mailcertd does not delete it"
		}
	}
}
