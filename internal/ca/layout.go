// Package ca is the private CA. Its directory has exactly the layout of openssl-ca(1), so that openssl can work on it
// before and after mailcertd does.
package ca

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// The names in the CA directory.
const (
	keyName     = "cakey.pem"
	certName    = "cacert.pem"
	serialName  = "serial"
	indexName   = "index.txt"
	attrName    = "index.txt.attr"
	crlNumName  = "crlnumber"
	CRLName     = "crl.pem"
	NewCertsDir = "newcerts"
	confName    = "openssl.cnf"
	crossName   = "cross.pem"    // in gen-N and next: the successor, signed by the generation before it
	nextName    = "next"         // the generation that waits to be put in force
	membersName = "members.json" // the members

	caplKeyName = "private/cakey.pem" // where CA.pl(1) and the stock openssl.cnf keep the key
)

// The largest file, the largest index.txt or CRL (both in octets), and the most certificates in newcerts that are read.
const (
	maxFile  = 1 << 20
	maxIndex = 1 << 30
	maxCerts = 1_000_000
)

// Options are the settings of the CA.
type Options struct {
	Dir     string
	Key     pki.KeyType // of a new CA or generation
	Days    int         // how long a new CA certificate is valid
	Subject Subject     // of the CA; an empty CommonName is made from Host
	Host    string      // this host's name
	// PermittedDomains become critical name constraints (RFC 5280 4.2.1.10).
	PermittedDomains []string
	CRLDays          int
	// Backdate is how long before the time of signing a certificate that a person signs becomes valid; zero: an hour.
	Backdate time.Duration
	// Passphrase decrypts the CA key, and encrypts a new one; nil: the key is not encrypted.
	Passphrase []byte
	// Unfinished makes Init finish a CA that an interrupted Init left, but create none.
	Unfinished bool
	// Memory saves repeated passes over an unchanged database; nil: every look makes a pass.
	Memory *Memory
}

// Subject has the attributes of the subject; those that are empty are left out.
type Subject struct {
	Country, State, Locality, Organization, OrganizationalUnit, CommonName string
}

// backdate is o.Backdate, or its default.
func (o Options) backdate() time.Duration {
	if o.Backdate <= 0 {
		return backdate
	}
	return o.Backdate
}

func (s Subject) name(cn string) ([]byte, error) {
	return pki.RawName(pki.Attribute{Type: "C", Value: s.Country}, pki.Attribute{Type: "ST", Value: s.State},
		pki.Attribute{Type: "L", Value: s.Locality}, pki.Attribute{Type: "O", Value: s.Organization},
		pki.Attribute{Type: "OU", Value: s.OrganizationalUnit}, pki.Attribute{Type: "CN", Value: cn})
}

// Errors of the CA as a whole. Test with errors.Is.
var (
	ErrLocked  = errors.New("the CA key has a passphrase")
	ErrExists  = errors.New("there is a CA already")
	ErrDamaged = errors.New("the CA cannot be used as it is")
	ErrEnded   = errors.New("the CA has expired")
)

// lockPatience is how long lock waits for another process that holds the lock of the CA directory.
const lockPatience = time.Minute

func lock(ctx context.Context, dir string) (*durable.Locked, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return durable.Lock(ctx, dir)
}

// MarkName is the file in the CA directory whose first line says whether mailcertd made the CA.
const MarkName = confName

// The first words of an openssl.cnf that mailcertd wrote: of any, of one that was written when mailcertd made the CA,
// and of one that was added to a CA that a person had made without it.
const (
	confMark    = "# Written by mailcertd "
	madeMark    = confMark + "with this CA"
	suppliedFor = confMark + "for a CA that had none"
)

// MadeHere says whether mailcertd made the CA in dir: its openssl.cnf says so. A CA that was made by hand and adopted
// has an openssl.cnf of its own, or one that says that it was added. Where the file cannot be read, it returns the
// error.
func MadeHere(dir string) (bool, error) {
	n := durable.Read(filepath.Join(dir, confName), maxFile)
	if n.Unread() {
		return false, n.Err
	}
	return bytes.HasPrefix(n.Data, []byte(madeMark)), nil
}

func confBegins(dir, words string) bool {
	n := durable.Read(filepath.Join(dir, confName), maxFile)
	return n.Err == nil && bytes.HasPrefix(n.Data, []byte(words))
}

// Owns says whether a file or directory in the CA directory has a name that mailcertd gives, or openssl when it works
// on such a CA. rel is relative to the CA directory.
func Owns(rel string, isDir bool) bool {
	if isDir {
		_, older := generationNumber(rel)
		return older || rel == nextName || rel == NewCertsDir
	}
	dir, name, below := strings.Cut(rel, "/")
	if !below {
		dir, name = "", rel
	}
	if base, temporary := durable.TempOf(name); temporary {
		name = base
	}
	_, older := generationNumber(dir)
	switch {
	case !below:
		switch strings.TrimSuffix(name, ".old") {
		case keyName, certName, serialName, indexName, attrName, crlNumName, CRLName, confName, membersName:
			return true
		}
		return Aside(name)
	case dir == NewCertsDir:
		serial, ok := strings.CutSuffix(name, ".pem")
		return ok && canonicalSerial(serial)
	case older || dir == nextName:
		return slices.Contains([]string{keyName, certName, crossName, CRLName, crlNumName}, name)
	}
	return false
}
