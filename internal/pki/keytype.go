// Package pki reads and writes private keys and certificates as OpenSSL does. It works on bytes and never on files:
// PEM, key types, subject hashes, and names in openssl's one-line form.
package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
)

// KeyType is a kind of key, by its name in mailcertd.yaml.
type KeyType string

// The types that GenerateKey makes.
const (
	RSA2048   KeyType = "rsa-2048"
	RSA3072   KeyType = "rsa-3072"
	RSA4096   KeyType = "rsa-4096"
	ECDSAP256 KeyType = "ecdsa-p256"
	ECDSAP384 KeyType = "ecdsa-p384"
)

// KeyTypes lists the types that ParseKeyType accepts.
func KeyTypes() []KeyType { return []KeyType{RSA2048, RSA3072, RSA4096, ECDSAP256, ECDSAP384} }

// Family is the kind of key without its size: "rsa", "ecdsa" or "ed25519"; "" for none. OpenSSL, and so sendmail, keeps
// one certificate of each family.
func (t KeyType) Family() string {
	family, _, _ := strings.Cut(string(t), "-")
	return family
}

// ParseKeyType parses a key type; a name that is not in KeyTypes is an error.
func ParseKeyType(s string) (KeyType, error) {
	var names []string
	for _, t := range KeyTypes() {
		if string(t) == s {
			return t, nil
		}
		names = append(names, string(t))
	}
	return "", fmt.Errorf("key type %q: must be one of %s", s, strings.Join(names, ", "))
}

// GenerateKey makes a new private key of one of the KeyTypes.
func GenerateKey(t KeyType, rand io.Reader) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand, 4096)
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand)
	}
	return nil, fmt.Errorf("key type %q cannot be made", t)
}

// GenerateKeyContext is GenerateKey, but returns when ctx is done. The search for a key cannot be stopped: it then ends
// in the background, and the key is dropped.
func GenerateKeyContext(ctx context.Context, t KeyType, rand io.Reader) (crypto.Signer, error) {
	type result struct {
		key crypto.Signer
		err error
	}
	done := make(chan result, 1)
	go func() {
		key, err := GenerateKey(t, rand)
		done <- result{key, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.key, r.err
	}
}

// TypeOf is the type of a public key, also of one that GenerateKey does not make (rsa-1024, ecdsa-p521, ed25519); ""
// for nil or an unknown kind.
func TypeOf(pub crypto.PublicKey) KeyType {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return KeyType(fmt.Sprintf("rsa-%d", k.N.BitLen()))
	case *ecdsa.PublicKey:
		return KeyType(fmt.Sprintf("ecdsa-p%d", k.Curve.Params().BitSize))
	case ed25519.PublicKey:
		return "ed25519"
	}
	return ""
}

// SamePublicKey says whether two public keys are the same. It is false if one is nil.
func SamePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && k.Equal(b)
}

// SPKIDigest is the SHA-256 of the SubjectPublicKeyInfo: the data of a TLSA
// 3 1 1 record (RFC 7671). It is all zero for a key of an unknown kind.
func SPKIDigest(pub crypto.PublicKey) [32]byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(der)
}

// KeyID is the subject key identifier of RFC 5280 section 4.2.1.2, method 1:
// the SHA-1 of the subjectPublicKey bits. Nil for a key of an unknown kind.
func KeyID(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil
	}
	sum := sha1.Sum(spki.Key.RightAlign())
	return sum[:]
}

// MarshalKey encodes a private key as a PKCS#8 PEM block, the form of openssl 3.
func MarshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// EncodeCertificate encodes a certificate as one PEM block.
func EncodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
