// Package dane decides about TLSA records (RFC 6698, RFC 7672): which ones there must be, when a key may be changed,
// and what is wrong. It is pure: it asks nobody, and the time is a parameter. What the DNS has comes in as a Look, and
// what must be remembered between two decisions is a Memory.
package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Record is the data of a TLSA record (RFC 6698, section 2.1) with its time to live.
type Record struct {
	Usage    uint8  `json:"usage"`
	Selector uint8  `json:"selector"`
	Matching uint8  `json:"matching_type"`
	Data     string `json:"data"`          // hexadecimal, in lower case
	TTL      int    `json:"ttl,omitempty"` // seconds
}

// The values that this package makes or understands.
const (
	usageTA      = 2 // DANE-TA: the record names a CA
	usageEE      = 3 // DANE-EE: the record names the server's certificate or its key
	selectorCert = 0 // the whole certificate
	selectorSPKI = 1 // the public key alone, which stays when the certificate is renewed
	matchFull    = 0
	matchSHA256  = 1
	matchSHA512  = 2
)

// usable reports whether a mail host looks at the record at all (RFC 7672, section 3.1.3).
func (r Record) usable() bool { return r.Usage == usageTA || r.Usage == usageEE }

// Same reports whether two records have the same data, whatever their times to live are.
func (r Record) Same(o Record) bool {
	r.TTL, o.TTL = 0, 0
	return r == o
}

// Kind is the usage, the selector and the matching type, such as 3 1 1.
func (r Record) Kind() string { return fmt.Sprintf("%d %d %d", r.Usage, r.Selector, r.Matching) }

// String is the data as in a zone file.
func (r Record) String() string { return r.Kind() + " " + r.Data }

// Line is the record as a line of a zone file.
func (r Record) Line(name string) string {
	return fmt.Sprintf("%s %d IN TLSA %s", name, r.TTL, r)
}

// Key is a public key; the zero Key means none.
type Key struct{ SPKI []byte } // DER of its SubjectPublicKeyInfo

// ID is the hexadecimal SHA-256 of the SubjectPublicKeyInfo, "" for no key. It is the data of the key's 3 1 1 record.
func (k Key) ID() string {
	if len(k.SPKI) == 0 {
		return ""
	}
	return digest(k.SPKI, matchSHA256)
}

// RecordOf is the record that mailcertd publishes for the key with that ID.
func RecordOf(id string, ttl time.Duration) Record {
	return Record{usageEE, selectorSPKI, matchSHA256, id, int(ttl / time.Second)}
}

// NameOf is the name of the records of a host and a TCP port (RFC 6698, section 3).
func NameOf(host string, port int) string {
	return fmt.Sprintf("_%d._tcp.%s.", port, strings.TrimSuffix(strings.ToLower(host), "."))
}

// digest is the data of a record with that matching type; "" for a type that is not known.
func digest(data []byte, matching uint8) string {
	switch matching {
	case matchFull:
		return hex.EncodeToString(data)
	case matchSHA256:
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	case matchSHA512:
		sum := sha512.Sum512(data)
		return hex.EncodeToString(sum[:])
	}
	return ""
}

// holds reports whether a mail host that checks these records accepts the key, in a certificate leaf (DER; nil: any). A
// record that names a CA counts as one that fits, because the chain is not known here. Of the records that differ in
// the matching type alone a mail host uses those with the strongest digest (RFC 7671, section 9).
func holds(records []Record, k Key, leaf []byte) bool {
	for _, r := range records {
		switch {
		case r.Usage == usageTA:
			return true
		case r.Usage != usageEE || weaker(records, r):
		case r.Selector == selectorSPKI && r.Data == digest(k.SPKI, r.Matching):
			return true
		case r.Selector == selectorCert && leaf != nil && r.Data == digest(leaf, r.Matching):
			return true
		}
	}
	return false
}

// weaker reports whether a mail host ignores r, because another record of its usage and selector has a stronger digest.
func weaker(records []Record, r Record) bool {
	for _, o := range records {
		if r.Matching == matchSHA256 && o.Matching == matchSHA512 && o.Usage == r.Usage && o.Selector == r.Selector {
			return true
		}
	}
	return false
}
