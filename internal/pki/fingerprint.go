package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
)

// Fingerprint names a certificate: SHA-256 of its DER, in hex; "" for nil.
func Fingerprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyFingerprint names a key: SHA-256 of its SubjectPublicKeyInfo, in hex (the data
// of a TLSA 3 1 1 record, RFC 7671); "" for nil.
func KeyFingerprint(pub crypto.PublicKey) string {
	if pub == nil {
		return ""
	}
	sum := SPKIDigest(pub)
	return hex.EncodeToString(sum[:])
}
