package ca

import (
	"crypto/x509"
	"slices"
	"time"
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

// has says whether a fault of that kind is among those.
func has(all []Fault, kind FaultKind) bool {
	return slices.ContainsFunc(all, func(f Fault) bool { return f.Kind == kind })
}

// inspect looks for the defects of an observed CA. Each section returns what it found, and repairs nothing. next are
// the defects of next/, which its reader found; serving are the certificates that are installed on this host. Where a
// section needs another pass over index.txt and that pass fails, the database counts as unread for the later sections.
func inspect(o *Observed, next []Fault, serving []*x509.Certificate) []Fault {
	found := slices.Concat(next,
		memberFaults(o),
		interruptedFaults(o),
		modeFaults(o))
	if o.Status != Unfinished { // finishing it makes the rest
		found = slices.Concat(found,
			signerFaults(o),
			leftoverFaults(o),
			newCertsFaults(o),
			indexFaults(o),
			rowFaults(o),
			unrevokedFaults(o),
			orphanFaults(o),
			subjectFaults(o),
			serialFaults(o),
			crlNumberFaults(o))
		found = slices.Concat(found,
			inTheWay(o, found),
			confFaults(o))
	}
	return slices.Concat(found, servingFaults(o, serving))
}
