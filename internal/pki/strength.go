package pki

import (
	"crypto"
	//lint:ignore SA1019 old certificates carry it, and OpenSSL still reads them
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"math"
)

// Libssl is the OpenSSL that loads a certificate. sendmail does not set a security level
// (SSL_CTX_set_security_level(3)), so when it loads a certificate, the level of openssl.cnf applies, or that of the
// build: 1 in OpenSSL up to 3.1, 2 in Debian and in OpenSSL 3.2 and later. The zero value is OpenSSL 3 at level 1.
type Libssl struct {
	Level int  // set it with AtLevel; 0 here means level 1
	Old   bool // OpenSSL 1.1.1, which accepts SHA-1 at level 1
}

// levelZero is the value of Level for OpenSSL's level 0.
const levelZero = -1

// AtLevel is l at the security level n, 0 to 5.
func (l Libssl) AtLevel(n int) Libssl {
	if l.Level = n; n == 0 {
		l.Level = levelZero
	}
	return l
}

// SecurityLevel is the level of l, 0 to 5.
func (l Libssl) SecurityLevel() int {
	switch l.Level {
	case levelZero:
		return 0
	case 0:
		return 1
	}
	return l.Level
}

// least are the bits of strength that each security level requires.
var least = [...]int{0, 80, 112, 128, 192, 256}

// Results of Refuses and RefusesCA, in OpenSSL's words.
const (
	WeakKey    = "ee key too small"
	WeakCAKey  = "ca key too small"
	WeakDigest = "ca md too weak"
)

// Refuses says why SSL_CTX_use_certificate_file(3) does not load c, in OpenSSL's words; "" where it does or this is not
// known, as for a key of an unknown kind.
func (l Libssl) Refuses(c *x509.Certificate) string { return l.refuses(c, WeakKey) }

// RefusesCA says why no handshake succeeds when c is sent above a leaf; "" where it may be sent.
func (l Libssl) RefusesCA(c *x509.Certificate) string { return l.refuses(c, WeakCAKey) }

func (l Libssl) refuses(c *x509.Certificate, weakKey string) string {
	switch {
	case l.WeakKey(c):
		return weakKey
	case l.WeakDigest(c) && !SelfSigned(c) &&
		!(c.PublicKey == nil && SameName(c.RawSubject, c.RawIssuer) && NamedBy(c, c)):
		return WeakDigest
	}
	return ""
}

func (l Libssl) need() int { return least[min(l.SecurityLevel(), len(least)-1)] }

// WeakKey says whether the key of c is below the security level. It is false for a key of an unknown kind.
func (l Libssl) WeakKey(c *x509.Certificate) bool {
	bits, known := keyBits(c.PublicKey)
	return known && bits < l.need()
}

// WeakDigest says whether the digest of the signature of c is below the security level, also in a self-signed
// certificate.
func (l Libssl) WeakDigest(c *x509.Certificate) bool {
	bits, known := l.signatureBits(c)
	return known && bits < l.need()
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
	case ed25519.PublicKey:
		return 128, true
	}
	return 0, false
}

// modulusBits is the strength of an RSA modulus by NIST SP 800-56B, appendix D, in steps of eight bits, as OpenSSL 3.0
// and later computes it. OpenSSL 1.1.1 has steps only at 1024, 2048, 3072, 7680 and 15360, with the same results for
// levels 1 to 3.
func modulusBits(n int) int {
	switch n {
	case 2048:
		return 112
	case 3072:
		return 128
	case 4096:
		return 152
	case 6144:
		return 176
	case 8192:
		return 200
	}
	most := 192
	switch {
	case n < 8:
		return 0
	case n > 15360:
		return 256 // level 5, the highest, requires no more
	case n > 7680:
		most = 256
	}
	x := float64(n) * math.Ln2
	y := int((1.923*math.Cbrt(x*math.Log(x)*math.Log(x)) - 4.690) / math.Ln2)
	return min((y+4)&^7, most)
}

// digestBits is the strength that OpenSSL assigns to the digest of a signature.
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
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return 192, true
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return 256, true
	}
	return 128, true
}
