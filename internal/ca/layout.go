// Package ca is the private certificate authority: a directory in the layout
// of openssl-ca(1), to the letter, so that openssl works on it before and
// after us.
package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	membersName  = "members.json" // the enrolled hosts
)

// Bounds of what is read, in bytes and entries.
const (
	maxFile  = 1 << 20
	maxIndex = 64 << 20
	maxCerts = 1_000_000
)

// Options is what the authority needs to know.
type Options struct {
	Dir     string
	Key     pki.KeyType // of a new CA
	Days    int         // life of a CA certificate
	Subject Subject     // the CommonName is the CA's own, "": made from Host
	Host    string      // this host's name
	// PermittedDomains become critical name constraints (RFC 5280 4.2.1.10).
	PermittedDomains []string
	CRLDays          int
	// Passphrase opens an encrypted CA key, and encrypts a new one; nil: none.
	Passphrase []byte
	// Memory makes repeated work on a large database cheap; nil: none.
	Memory *Memory
}

// Subject is what stands in the subjects of CA and host beside the CN.
type Subject struct {
	Country, State, Locality, Organization, OrganizationalUnit, CommonName string
}

func (s Subject) name(cn string) ([]byte, error) {
	return pki.RawName(pki.Attribute{Type: "C", Value: s.Country}, pki.Attribute{Type: "ST", Value: s.State},
		pki.Attribute{Type: "L", Value: s.Locality}, pki.Attribute{Type: "O", Value: s.Organization},
		pki.Attribute{Type: "OU", Value: s.OrganizationalUnit}, pki.Attribute{Type: "CN", Value: cn})
}

// Why the authority cannot act. Test with errors.Is.
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
func MadeHere(dir string) bool { return confBegins(dir, madeMark) }

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
		return false
	case dir == newCertsName:
		serial, ok := strings.CutSuffix(name, ".pem")
		return ok && canonicalSerial(serial)
	case older || dir == nextName:
		return slices.Contains([]string{keyName, certName, crossName, crlName, crlNumName}, name)
	}
	return false
}

// conf is openssl.cnf for work by hand: cd there, then
// `openssl ca -config openssl.cnf …`. Its first line begins with mark.
func conf(o Options, mark string) []byte {
	days, crlDays := 365, o.CRLDays
	if crlDays == 0 {
		crlDays = 30
	}
	return fmt.Appendf(nil, mark+`, and never changed by it again. For work by hand:
#   cd to this directory, then
#   openssl ca -config openssl.cnf -in host.csr -out host.cert
#   openssl ca -config openssl.cnf -revoke newcerts/05.pem
#   openssl ca -config openssl.cnf -gencrl -out crl.pem

[ ca ]
default_ca       = mailcertd

[ mailcertd ]
dir              = .
database         = $dir/index.txt
new_certs_dir    = $dir/newcerts
certificate      = $dir/cacert.pem
private_key      = $dir/cakey.pem
serial           = $dir/serial
# Drawn at random, as mailcertd does: whoever else signs at this time cannot take the same one.
rand_serial      = yes
crlnumber        = $dir/crlnumber
crl              = $dir/crl.pem
default_days     = %d
default_crl_days = %d
default_md       = sha256
policy           = any
preserve         = no
email_in_dn      = no
string_mask      = utf8only
# A renewed certificate has the subject of the one before.
unique_subject   = no
x509_extensions  = leaf
crl_extensions   = crl
# The names of a request (subjectAltName) are taken over; what stands in the
# section below cannot be overruled by it. Read what you sign.
copy_extensions  = copy

[ any ]
countryName            = optional
stateOrProvinceName    = optional
localityName           = optional
organizationName       = optional
organizationalUnitName = optional
commonName             = optional
emailAddress           = optional

[ leaf ]
basicConstraints       = critical, CA:FALSE
keyUsage               = critical, digitalSignature, keyEncipherment
extendedKeyUsage       = serverAuth, clientAuth
subjectKeyIdentifier   = hash
authorityKeyIdentifier = keyid

[ crl ]
authorityKeyIdentifier = keyid

[ req ]
distinguished_name     = request
string_mask            = utf8only

[ request ]
commonName             = Host name
commonName_max         = 64
`, days, crlDays)
}
