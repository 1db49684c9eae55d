package dane

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// digestOctets are the lengths of the digests of each matching type.
var digestOctets = map[uint8]int{matchSHA256: 32, matchSHA512: 64}

// Fault says why mail hosts ignore the record, "" where they use it (RFC 7672, sections 3.1.3 and 3.2).
func (r Record) Fault() string {
	data, err := hex.DecodeString(r.Data)
	want, digested := digestOctets[r.Matching]
	switch {
	case r.Usage == 0 || r.Usage == 1:
		return fmt.Sprintf("mail hosts do not use records with usage %d", r.Usage)
	case r.Usage > usageEE:
		return fmt.Sprintf("the usage %d is not known", r.Usage)
	case r.Selector > selectorSPKI:
		return fmt.Sprintf("the selector %d is not known", r.Selector)
	case r.Matching != matchFull && !digested:
		return fmt.Sprintf("the matching type %d is not known", r.Matching)
	case err != nil:
		return "its data are not hexadecimal"
	case digested && len(data) != want:
		return fmt.Sprintf("its digest has %d octets, must have %d", len(data), want)
	case digested:
		return ""
	case r.Selector == selectorCert:
		_, err = x509.ParseCertificate(data)
	default:
		_, err = x509.ParsePKIXPublicKey(data)
	}
	if err != nil {
		return "its data are not a certificate or key: " + err.Error()
	}
	return ""
}

// Usable returns the records by which a mail host authenticates a server: those without a fault and, of those that
// differ in the matching type alone, those with the strongest digest (RFC 7671, section 9).
func Usable(records []Record) (out []Record) {
	var sound []Record
	for _, r := range records {
		if r.Fault() == "" {
			sound = append(sound, r)
		}
	}
	for _, r := range sound {
		if !weaker(sound, r) {
			out = append(out, r)
		}
	}
	return out
}

// NamesLeaf says that the record is for the server's own certificate or key (DANE-EE); otherwise it is for a CA.
func (r Record) NamesLeaf() bool { return r.Usage == usageEE }

// Fits says whether the record names that certificate or its key.
func (r Record) Fits(c *x509.Certificate) bool {
	if r.Selector == selectorCert {
		return r.Data == digest(c.Raw, r.Matching)
	}
	return r.Data == digest(c.RawSubjectPublicKeyInfo, r.Matching)
}

// Anchor is the CA that the record has in full, for servers that do not show it: a certificate, or a bare key as a
// certificate without a name. Both are nil for a record with a digest.
func (r Record) Anchor() (cert *x509.Certificate, key any) {
	data, err := hex.DecodeString(r.Data)
	if err != nil || r.Usage != usageTA || r.Matching != matchFull {
		return nil, nil
	}
	if r.Selector == selectorCert {
		cert, _ = x509.ParseCertificate(bytes.Clone(data))
		return cert, nil
	}
	key, _ = x509.ParsePKIXPublicKey(data)
	return nil, key
}
