// Package ca is the private CA: a directory in the layout of openssl-ca(1), to the letter, so that openssl works on it
// before and after us.
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
	keyName      = "cakey.pem"
	certName     = "cacert.pem"
	serialName   = "serial"
	indexName    = "index.txt"
	attrName     = "index.txt.attr"
	crlNumName   = "crlnumber"
	crlName      = "crl.pem"
	newCertsName = "newcerts"
	confName     = "openssl.cnf"
	crossName    = "cross.pem"    // in gen-N and next: the successor, signed by the generation before it
	nextName     = "next"         // the generation that waits to be put in force
	membersName  = "members.json" // the members

	caplKeyName = "private/cakey.pem" // where CA.pl(1) and the stock openssl.cnf keep the key
)

// Bounds of what is read, in bytes and entries.
const (
	maxFile  = 1 << 20
	maxIndex = 1 << 30
	maxCerts = 1_000_000
)

// Options is what the CA needs to know.
type Options struct {
	Dir     string
	Key     pki.KeyType // of a new CA
	Days    int         // life of a CA certificate
	Subject Subject     // the CommonName is the CA's own, "": made from Host
	Host    string      // this host's name
	// PermittedDomains become critical name constraints (RFC 5280 4.2.1.10).
	PermittedDomains []string
	CRLDays          int
	// Backdate is how far what a person has signed begins before its time; zero: an hour.
	Backdate time.Duration
	// Passphrase opens an encrypted CA key, and encrypts a new one; nil: none.
	Passphrase []byte
	// Unfinished lets Init finish a CA that was begun, and make none.
	Unfinished bool
	// Memory makes repeated work on a large database cheap; nil: none.
	Memory *Memory
}

// Subject is what is in the subjects of CA and host beside the CN.
type Subject struct {
	Country, State, Locality, Organization, OrganizationalUnit, CommonName string
}

// backdate is how far what is signed begins before its time.
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

// Why the CA cannot act. Test with errors.Is.
var (
	ErrLocked  = errors.New("the CA key has a passphrase")
	ErrExists  = errors.New("there is a CA already")
	ErrDamaged = errors.New("the CA cannot be used as it is")
	ErrEnded   = errors.New("the CA has expired")
)

// lockPatience bounds the wait for another process that writes here.
const lockPatience = time.Minute

func lock(ctx context.Context, dir string) (*durable.Locked, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return durable.Lock(ctx, dir)
}

// MarkName is the file in the CA directory that says whether mailcertd made it.
const MarkName = confName

// The first words of an openssl.cnf of ours: of any, of one that was written
// with its CA, and of one that a CA made by hand lacked.
const (
	confMark    = "# Written by mailcertd "
	madeMark    = confMark + "with this CA"
	suppliedFor = confMark + "for a CA that had none"
)

// MadeHere says that mailcertd made the CA in dir: its openssl.cnf was written
// with it. One that was made by hand and adopted has its own, or none.
// An error: it is not known.
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

// Owns says that mailcertd, or openssl at work on a CA of ours, gives this name
// to something in the CA directory: a path relative to it.
func Owns(rel string, isDir bool) bool {
	if isDir {
		_, older := generationNumber(rel)
		return older || rel == nextName || rel == newCertsName
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
		case keyName, certName, serialName, indexName, attrName, crlNumName, crlName, confName, membersName:
			return true
		}
		return Aside(name)
	case dir == newCertsName:
		serial, ok := strings.CutSuffix(name, ".pem")
		return ok && canonicalSerial(serial)
	case older || dir == nextName:
		return slices.Contains([]string{keyName, certName, crossName, crlName, crlNumName}, name)
	}
	return false
}
