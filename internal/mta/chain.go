package mta

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// The words of X509_verify_cert_error_string(3) as OpenSSL 3 has them, which
// sendmail logs as verifymsg=. OpenSSL 1.1.1 writes "self signed" and
// "unsupported certificate purpose".
const (
	notYetValid   = "certificate is not yet valid"
	hasExpired    = "certificate has expired"
	selfSigned    = "self-signed certificate"
	selfSignedTop = "self-signed certificate in certificate chain"
	noIssuer      = "unable to get issuer certificate"
	noLocalIssuer = "unable to get local issuer certificate"
	badSignature  = "certificate signature failure"
	weakDigest    = "CA signature digest algorithm too weak"
	noCA          = "invalid CA certificate"
	tooLong       = "path length constraint exceeded"
	badPurpose    = "unsuitable certificate purpose"
	badCritical   = "unhandled critical extension"
)

// maxChain is the verify depth of OpenSSL's default, in certificates.
const maxChain = 100

// verifyChain says "" when shown, leaf first, leads to a self-signed
// certificate of store and serves the purpose at now, else what is wrong with
// it. It judges as X509_verify_cert(3) does, to whose first error sendmail's
// verify= comes down, and asks crypto/x509 besides: both must agree. Where only
// crypto/x509 objects (name constraints, for instance) the words are its own.
// CRLs are not looked at, nor key sizes, which are judged by OpenSSL's
// security level (SSL_CTX_set_security_level(3)).
func verifyChain(shown, store []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) string {
	if len(shown) == 0 {
		return noLocalIssuer
	}
	if fault := buildChain(shown, store, now).fault(usage, now); fault != "" {
		return fault
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range store {
		if isSelfSigned(c) {
			o.Roots.AddCert(c)
		} else { // trusted, but without X509_V_FLAG_PARTIAL_CHAIN no anchor
			o.Intermediates.AddCert(c)
		}
	}
	for _, c := range shown[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := shown[0].Verify(o); err != nil {
		return err.Error()
	}
	return ""
}

// chain is leaf first. The first untrusted certificates came from the peer.
type chain struct {
	certs     []*x509.Certificate
	untrusted int
	anchored  bool // the last one is self-signed and in the store
}

// buildChain looks for each issuer in the store first, then among what the
// peer has shown; once in the store it stays there.
func buildChain(shown, store []*x509.Certificate, now time.Time) chain {
	ch := chain{certs: shown[:1:1], untrusted: 1}
	for len(ch.certs) < maxChain {
		top := ch.certs[len(ch.certs)-1]
		if isSelfSigned(top) {
			ch.anchored = slices.ContainsFunc(store, top.Equal)
			return ch
		}
		next := issuer(top, store, ch.certs, now)
		if next == nil && ch.untrusted == len(ch.certs) {
			if next = issuer(top, shown[1:], ch.certs, now); next != nil {
				ch.untrusted++
			}
		}
		if next == nil {
			return ch
		}
		ch.certs = append(ch.certs, next)
	}
	return ch
}

// issuer picks the candidate that may have issued c by its names (RFC 5280
// 4.2.1.1) and usage: one that is valid now, else the one that ends last.
func issuer(c *x509.Certificate, candidates, used []*x509.Certificate, now time.Time) *x509.Certificate {
	var best *x509.Certificate
	for _, i := range candidates {
		switch {
		case !issued(i, c) || slices.ContainsFunc(used, i.Equal):
		case timeFault(i, now) == "":
			return i
		case best == nil || i.NotAfter.After(best.NotAfter):
			best = i
		}
	}
	return best
}

func issued(i, c *x509.Certificate) bool {
	return bytes.Equal(i.RawSubject, c.RawIssuer) &&
		(len(c.AuthorityKeyId) == 0 || len(i.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, i.SubjectKeyId)) &&
		(i.KeyUsage == 0 || i.KeyUsage&x509.KeyUsageCertSign != 0 || i.Equal(c))
}

func isSelfSigned(c *x509.Certificate) bool { return issued(c, c) }

// fault is the first error that X509_verify_cert(3) comes upon, "" for none:
// trust, then the extensions from the leaf up, digests, then signatures and
// times from the top down.
func (ch chain) fault(usage x509.ExtKeyUsage, now time.Time) string {
	last := len(ch.certs) - 1
	switch {
	case ch.anchored:
	case isSelfSigned(ch.certs[last]) && last == 0:
		return selfSigned
	case isSelfSigned(ch.certs[last]):
		return selfSignedTop
	case ch.untrusted < len(ch.certs):
		return noIssuer
	default:
		return noLocalIssuer
	}
	below := 0 // CA certificates between this one and the leaf that are not self-issued
	for n, c := range ch.certs {
		switch {
		case len(c.UnhandledCriticalExtensions) > 0:
			return badCritical
		case n > 0 && !isCA(c):
			return noCA
		case !fits(c, usage, n > 0):
			return badPurpose
		case n > 0 && c.BasicConstraintsValid && (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen:
			return tooLong
		}
		if n > 0 && !bytes.Equal(c.RawSubject, c.RawIssuer) {
			below++
		}
	}
	for _, c := range ch.certs[:last] {
		if slices.Contains(weak, c.SignatureAlgorithm) {
			return weakDigest
		}
	}
	for n := last; n >= 0; n-- {
		c := ch.certs[n]
		if n < last && ch.certs[n+1].CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			return badSignature
		}
		if f := timeFault(c, now); f != "" {
			return f
		}
	}
	return ""
}

// weak are the digests below OpenSSL 3's security level 1.
var weak = []x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1}

func timeFault(c *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(c.NotBefore):
		return notYetValid
	case !now.Before(c.NotAfter):
		return hasExpired
	}
	return ""
}

// isCA follows X509_check_ca(3): basic constraints, or a root of version 1.
func isCA(c *x509.Certificate) bool {
	return c.BasicConstraintsValid && c.IsCA || c.Version == 1 && isSelfSigned(c)
}

// fits follows X509_check_purpose(3) for sslserver and sslclient: an extended
// key usage must name the purpose (anyExtendedKeyUsage is not enough), and the
// leaf's key usage must be good for a handshake.
func fits(c *x509.Certificate, usage x509.ExtKeyUsage, ca bool) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, usage) {
		return false
	}
	good := x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	if usage == x509.ExtKeyUsageServerAuth {
		good |= x509.KeyUsageKeyEncipherment
	}
	return ca || c.KeyUsage == 0 || c.KeyUsage&good != 0
}
