package pki

import (
	"crypto"
	//lint:ignore SA1019 old certificates carry it, and OpenSSL still reads them
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/md5" //nolint:gosec // whose a certificate is does not depend on the strength of its digest
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // as above
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
)

// SignedBy says whether issuer's key made the signature of c. It accepts what crypto/x509 refuses: SHA-1, MD5, and a CA
// certificate without basicConstraints. It does not check names, dates and usages.
func SignedBy(c, issuer *x509.Certificate) bool {
	return signed(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature, issuer)
}

// ListSignedBy says whether issuer has the name of the CRL's issuer and its key made the signature. Like OpenSSL it
// requires that a key usage of the issuer, if there is one, allows CRLs.
func ListSignedBy(l *x509.RevocationList, issuer *x509.Certificate) bool {
	return SameName(l.RawIssuer, issuer.RawSubject) &&
		(issuer.KeyUsage == 0 || issuer.KeyUsage&x509.KeyUsageCRLSign != 0) &&
		signed(l.SignatureAlgorithm, l.RawTBSRevocationList, l.Signature, issuer)
}

func signed(a x509.SignatureAlgorithm, tbs, signature []byte, issuer *x509.Certificate) bool {
	if issuer.PublicKey == nil {
		return false
	}
	switch a {
	case x509.MD5WithRSA:
		sum := md5.Sum(tbs)
		return legacy(issuer.PublicKey, crypto.MD5, sum[:], signature)
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		sum := sha1.Sum(tbs)
		return legacy(issuer.PublicKey, crypto.SHA1, sum[:], signature)
	}
	return issuer.CheckSignature(a, tbs, signature) == nil
}

func legacy(pub crypto.PublicKey, h crypto.Hash, sum, signature []byte) bool {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, h, sum, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, sum, signature)
	case *dsa.PublicKey:
		var rs struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(signature, &rs)
		return err == nil && len(rest) == 0 && dsa.Verify(k, sum, rs.R, rs.S)
	}
	return false
}

// IssuedBy says whether issuer has the name of c's issuer and its key made the signature.
func IssuedBy(c, issuer *x509.Certificate) bool {
	return SameName(c.RawIssuer, issuer.RawSubject) && SignedBy(c, issuer)
}

// SelfSigned says whether a certificate is issued and signed by itself.
func SelfSigned(c *x509.Certificate) bool { return IssuedBy(c, c) }

var algorithms = map[string]x509.SignatureAlgorithm{
	"1.2.840.113549.1.1.4": x509.MD5WithRSA, "1.2.840.113549.1.1.5": x509.SHA1WithRSA,
	"1.3.14.3.2.29":         x509.SHA1WithRSA,
	"1.2.840.113549.1.1.11": x509.SHA256WithRSA, "1.2.840.113549.1.1.12": x509.SHA384WithRSA,
	"1.2.840.113549.1.1.13": x509.SHA512WithRSA,
	"1.2.840.10045.4.1":     x509.ECDSAWithSHA1, "1.2.840.10045.4.3.2": x509.ECDSAWithSHA256,
	"1.2.840.10045.4.3.3": x509.ECDSAWithSHA384,
	"1.2.840.10045.4.3.4": x509.ECDSAWithSHA512, "1.3.101.112": x509.PureEd25519, "1.2.840.10040.4.3": x509.DSAWithSHA1,
}

// algorithmOf knows the algorithms without parameters that old certificates may have. RSA-PSS is left to crypto/x509.
func algorithmOf(a pkix.AlgorithmIdentifier) x509.SignatureAlgorithm {
	return algorithms[a.Algorithm.String()]
}
