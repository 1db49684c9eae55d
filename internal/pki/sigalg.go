package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// SignatureOID is the signature algorithm of a certificate, as a dotted number; "" where it cannot be parsed.
func SignatureOID(c *x509.Certificate) string {
	oid, _ := signatureOf(c)
	return oid
}

// signatureOf is the signature AlgorithmIdentifier of a certificate (RFC 5280 4.1.1.2).
func signatureOf(c *x509.Certificate) (oid string, parameters []byte) {
	var whole struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.RawValue
	}
	var id asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(c.Raw, &whole); err != nil {
		return "", nil
	}
	rest, err := asn1.Unmarshal(whole.Algorithm.Bytes, &id)
	if err != nil {
		return "", nil
	}
	return id.String(), rest
}

// SignatureKnown says whether mailcertd knows how strong OpenSSL considers the signature of c. OpenSSL refuses a
// certificate, except a self-signed one, whose signature algorithm it does not know, which depends on its release.
func SignatureKnown(c *x509.Certificate) bool {
	_, known := Libssl{}.signatureBits(c)
	return known
}

// signatureBits is the strength that OpenSSL gives the digest of the signature of c.
func (l Libssl) signatureBits(c *x509.Certificate) (bits int, known bool) {
	if c.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		return l.digestBits(c.SignatureAlgorithm)
	}
	oid, parameters := signatureOf(c)
	if oid == "1.2.840.113549.1.1.10" {
		return l.pssBits(parameters)
	}
	if bits, known = otherSignatures[oid]; known {
		return bits, true
	}
	return l.digestBits(algorithms[oid])
}

// otherSignatures are algorithms that crypto/x509 does not know, with the strength in bits: half the size of the
// digest. No build of OpenSSL has MD2.
var otherSignatures = map[string]int{
	"1.2.840.113549.1.1.2": 0, "1.2.840.113549.1.1.3": 64, "1.3.14.3.2.3": 39, // MD2, MD4, MD5 with RSA
	// RIPEMD-160 with RSA
	"1.3.36.3.3.1.2": 80,
	// SHA-224, SHA-512/224
	"1.2.840.113549.1.1.14": 112, "1.2.840.10045.4.3.1": 112, "2.16.840.1.101.3.4.3.1": 112,
	"1.2.840.113549.1.1.15": 112,
	"1.2.840.113549.1.1.16": 128, "2.16.840.1.101.3.4.3.2": 128, // SHA-512/256; DSA with SHA-256
	// ECDSA with SHA-3
	"2.16.840.1.101.3.4.3.9": 112, "2.16.840.1.101.3.4.3.10": 128, "2.16.840.1.101.3.4.3.11": 192,
	"2.16.840.1.101.3.4.3.12": 256,
	// RSA with SHA-3
	"2.16.840.1.101.3.4.3.13": 112, "2.16.840.1.101.3.4.3.14": 128, "2.16.840.1.101.3.4.3.15": 192,
	"2.16.840.1.101.3.4.3.16": 256,
	"1.3.101.113":             224, // Ed448
}

// pssBits is the strength of the digest in RSASSA-PSS-params (RFC 4055 3.1), which is SHA-1 where they name none.
func (l Libssl) pssBits(parameters []byte) (bits int, known bool) {
	var p struct {
		Hash    pkix.AlgorithmIdentifier `asn1:"optional,explicit,tag:0"`
		Mask    pkix.AlgorithmIdentifier `asn1:"optional,explicit,tag:1"`
		Salt    int                      `asn1:"optional,explicit,tag:2,default:20"`
		Trailer int                      `asn1:"optional,explicit,tag:3,default:1"`
	}
	if len(parameters) == 0 {
		return 0, true // OpenSSL cannot decode these parameters, and says "ca md too weak"
	}
	if _, err := asn1.Unmarshal(parameters, &p); err != nil {
		return 0, true
	}
	digest := "1.3.14.3.2.26"
	if len(p.Hash.Algorithm) > 0 {
		digest = p.Hash.Algorithm.String()
	}
	bits, known = pssDigests[digest]
	if digest == "1.3.14.3.2.26" && l.Old {
		bits = 80
	}
	return bits, known
}

var pssDigests = map[string]int{"1.2.840.113549.2.5": 39, "1.3.14.3.2.26": 63,
	"2.16.840.1.101.3.4.2.4": 112, "2.16.840.1.101.3.4.2.1": 128, "2.16.840.1.101.3.4.2.2": 192,
	"2.16.840.1.101.3.4.2.3": 256,
	"2.16.840.1.101.3.4.2.7": 112, "2.16.840.1.101.3.4.2.8": 128, "2.16.840.1.101.3.4.2.9": 192,
	"2.16.840.1.101.3.4.2.10": 256}
