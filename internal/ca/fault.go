package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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
