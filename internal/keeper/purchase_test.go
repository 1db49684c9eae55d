package keeper

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"mailcertd/internal/pki"
)

// signerOf signs certificates: a CA, or a host for itself. It contains its key and certificate.
type signerOf struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (s signerOf) pem() string { return string(pki.EncodeCertificate(s.cert.Raw)) }

func (s signerOf) keyPEM(t testing.TB) string {
	t.Helper()
	b, err := pki.MarshalKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// signed makes a key and a certificate for it, valid from a month ago until a year from now unless change sets other
// dates. Without by the certificate is self-signed.
func signed(t testing.TB, now time.Time, cn string, isCA bool, by *signerOf, change func(*x509.Certificate)) signerOf {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signedOver(t, now, cn, isCA, key, by, change)
}

func signedOver(t testing.TB, now time.Time, cn string, isCA bool, key crypto.Signer, by *signerOf,
	change func(*x509.Certificate)) signerOf {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano() + int64(len(cn))),
		Subject: pkix.Name{CommonName: cn}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: isCA, BasicConstraintsValid: true, SubjectKeyId: pki.KeyID(key.Public())}
	if !isCA {
		c.DNSNames = []string{cn}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if change != nil {
		change(c)
	}
	parent := signerOf{c, key}
	if by != nil {
		parent = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return signerOf{c, key}
}

// purchase is what a public CA sells: its root, an intermediate, and the leaf of the host.
type purchase struct{ root, middle, leaf signerOf }

func purchased(t testing.TB, now time.Time, change func(*x509.Certificate)) purchase {
	root := signed(t, now, "Seller's root", true, nil, nil)
	middle := signed(t, now, "Seller's intermediate", true, &root, nil)
	return purchase{root, middle, signed(t, now, name, false, &middle, change)}
}
