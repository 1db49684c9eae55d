package pki

import (
	"crypto"
	//lint:ignore SA1019 old certificates carry it, and OpenSSL still reads them
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"math"
)

// Libssl is the OpenSSL that loads a certificate. sendmail sets no security level
// (SSL_CTX_set_security_level(3)), so that its build's own is in force: 1 in
// FreeBSD's base system and in OpenSSL up to 3.1, 2 in Debian and in OpenSSL from
// 3.2. The zero value is OpenSSL 3 at level 1.
type Libssl struct {
	Level int  // 0 means 1
	Old   bool // OpenSSL 1.1.1, to which SHA-1 is good for level 1
}

// What Refuses says, in OpenSSL's words.
const (
	WeakKey    = "ee key too small"
	WeakDigest = "ca md too weak"
)

// Refuses says why SSL_CTX_use_certificate_file(3) does not load c, in OpenSSL's
// words; "" when it does, as far as that can be known: a key of an unknown kind
// is not held against it.
func (l Libssl) Refuses(c *x509.Certificate) string {
	least := 80 // bits, of the level
	if l.Level >= 2 {
		least = 112
	}
	if bits, known := keyBits(c.PublicKey); known && bits < least {
		return WeakKey
	}
	if bits, known := l.digestBits(c.SignatureAlgorithm); known && bits < least && !SelfSigned(c) {
		return WeakDigest
	}
	return ""
}

// keyBits is EVP_PKEY_get_security_bits(3).
func keyBits(pub crypto.PublicKey) (bits int, known bool) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return modulusBits(k.N.BitLen()), true
	case *dsa.PublicKey:
		return min(modulusBits(k.P.BitLen()), k.Q.BitLen()/2), true
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize / 2, true
	}
	return 0, false
}

// modulusBits is the strength of NIST SP 800-56B, appendix D, in steps of eight,
// as OpenSSL computes it since 3.0; 1.1.1 has steps at 1024 and 2048 alone.
func modulusBits(n int) int {
	switch {
	case n >= 2048:
		return 112 // and more, which makes no difference here
	case n < 8:
		return 0
	}
	x := float64(n) * math.Ln2
	y := int((1.923*math.Cbrt(x*math.Log(x)*math.Log(x)) - 4.690) / math.Ln2)
	return min((y+4)&^7, 112)
}

// digestBits is the strength that OpenSSL gives the digest of a signature.
func (l Libssl) digestBits(a x509.SignatureAlgorithm) (bits int, known bool) {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA:
		return 39, true
	case x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		if l.Old {
			return 80, true
		}
		return 63, true
	case x509.UnknownSignatureAlgorithm:
		return 0, false
	}
	return 128, true
}
