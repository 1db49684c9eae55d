package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
)

// Fingerprint is the SHA-256 of a certificate's DER, in hexadecimal; "" for nil.
func Fingerprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyFingerprint is the SHA-256 of a key's SubjectPublicKeyInfo, in hexadecimal (the data of a TLSA 3 1 1 record, RFC
// 7671); "" for nil.
func KeyFingerprint(pub crypto.PublicKey) string {
	if pub == nil {
		return ""
	}
	sum := SPKIDigest(pub)
	return hex.EncodeToString(sum[:])
}
