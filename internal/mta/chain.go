package mta

import (
	//lint:ignore SA1019 old chains carry it, and OpenSSL still reads them
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"time"

	"mailcertd/internal/pki"
)

// The texts of X509_verify_cert_error_string(3) in OpenSSL 3, which sendmail logs as verifymsg=. OpenSSL 1.1.1 writes
// "self signed" and "unsupported certificate purpose" instead.
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
	weakLeafKey   = "EE certificate key too weak"
	weakCAKey     = "CA certificate key too weak"
	unjudgedKey   = "mailcertd cannot check the signature: it does not know this kind of issuer key"
)

// maxChain is the default verify depth of OpenSSL, in certificates.
const maxChain = 100

// verifyChain returns "" where shown, leaf first, leads to a self-signed certificate in store and is valid for the
// purpose at now; otherwise why not. It judges like X509_verify_cert(3) of that OpenSSL, whose first error decides
// sendmail's verify=. crypto/x509 would be stricter about some things (SHA-1 at the root, odd names), less strict about
// others (authority key identifiers), and it tries more paths. CRLs are not checked.
func verifyChain(by pki.Libssl, shown, store []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) string {
	if len(shown) == 0 {
		return noLocalIssuer
	}
	if by.WeakKey(shown[0]) {
		return weakLeafKey
	}
	return buildChain(shown, store, now).fault(by, usage, now)
}

// Objection is the result of verifyChain for the chain of a server, without what is reported in other ways: dates, a
// missing root, and the purposes of the leaf. It is "" where there is no objection.
func Objection(by pki.Libssl, shown, store []*x509.Certificate, now time.Time) string {
	why := verifyChain(by, shown, store, x509.ExtKeyUsageServerAuth, now)
	switch why {
	case noIssuer, noLocalIssuer, hasExpired, notYetValid, badPurpose:
		return ""
	}
	return why
}

// chain is a certificate chain, leaf first. The first untrusted certificates of it came from the peer.
type chain struct {
	certs     []*x509.Certificate
	untrusted int
	anchored  bool // the last one is self-signed and in the store
}

// buildChain looks for each issuer first in the store, then among the certificates that the peer has sent. After the
// first one from the store it uses only the store, as OpenSSL does.
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

// issuer returns the candidate that may have issued c by its names (RFC 5280 4.2.1.1) and usage: one that is valid now,
// otherwise the one that expires last.
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

// issued says whether i may be the issuer of c, by the criteria of OpenSSL 3: names, key identifiers, and a key that
// can make such a signature.
func issued(i, c *x509.Certificate) bool {
	return pki.SameName(i.RawSubject, c.RawIssuer) && pki.NamedBy(c, i) && canSign(i, c)
}

// canSign says whether the key of i can make a signature of the kind in c. It is true where either kind is not known.
func canSign(i, c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.UnknownSignatureAlgorithm:
		return true
	case x509.ECDSAWithSHA1, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		_, ok := i.PublicKey.(*ecdsa.PublicKey)
		return ok || i.PublicKey == nil
	case x509.PureEd25519:
		_, ok := i.PublicKey.(ed25519.PublicKey)
		return ok || i.PublicKey == nil
	case x509.DSAWithSHA1, x509.DSAWithSHA256:
		_, ok := i.PublicKey.(*dsa.PublicKey)
		return ok || i.PublicKey == nil
	}
	_, ok := i.PublicKey.(*rsa.PublicKey)
	return ok || i.PublicKey == nil
}

func isSelfSigned(c *x509.Certificate) bool { return issued(c, c) }

// fault is the first error that X509_verify_cert(3) would find; "" for none. The order is: trust, the extensions from
// the leaf up, digests, then signatures and times from the top down.
func (ch chain) fault(by pki.Libssl, usage x509.ExtKeyUsage, now time.Time) string {
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
		case unhandled(c):
			return badCritical
		case n > 0 && !isCA(c, n == last):
			return noCA
		case !fits(c, usage, n > 0):
			return badPurpose
		case n > 0 && c.BasicConstraintsValid && (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen:
			return tooLong
		}
		if n > 0 && !pki.SameName(c.RawSubject, c.RawIssuer) {
			below++
		}
	}
	for n, c := range ch.certs {
		switch {
		case n > 0 && by.WeakKey(c):
			return weakCAKey
		case n < last && by.WeakDigest(c):
			return weakDigest
		}
	}
	for n := last; n >= 0; n-- {
		c := ch.certs[n]
		if n < last && ch.certs[n+1].PublicKey == nil {
			return unjudgedKey
		}
		if n < last && !pki.SignedBy(c, ch.certs[n+1]) {
			return badSignature
		}
		if f := timeFault(c, now); f != "" {
			return f
		}
	}
	return ch.constraints()
}

// handled are the extensions that OpenSSL accepts as critical (supported_nids in v3_purp.c).
var handled = []string{"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.32",
	"2.5.29.33", "2.5.29.36",
	"2.5.29.37", "2.5.29.54", "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8", "1.3.6.1.5.5.7.1.14", "1.3.6.1.5.5.7.48.1.5",
	"2.16.840.1.113730.1.1"}

func unhandled(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Critical && !slices.Contains(handled, e.Id.String())
	})
}

func timeFault(c *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(c.NotBefore):
		return notYetValid
	case !now.Before(c.NotAfter):
		return hasExpired
	}
	return ""
}

// isCA follows X509_check_ca(3): a key usage, if present, must allow to sign certificates; then basic constraints
// decide. The top of a chain may lack them if it is a root of version 1 or has such a key usage.
func isCA(c *x509.Certificate, top bool) bool {
	switch {
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return false
	case c.BasicConstraintsValid:
		return c.IsCA
	}
	return top && (c.Version == 1 && isSelfSigned(c) || c.KeyUsage != 0)
}

// fits follows X509_check_purpose(3) for sslserver and sslclient: an extended key usage, if present, must name the
// purpose (anyExtendedKeyUsage is not enough), and the key usage of the leaf must allow a handshake.
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
