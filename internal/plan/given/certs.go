package given

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"sync"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Day is the unit of time of most facts.
const Day = 24 * time.Hour

// Now is the time of every observation, unless a fact changes it.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// must panics on an error; the calls of this package cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var keys sync.Map // the keys that signer has made, by label

// signer returns the P-256 key of a label. It is the same in every run, so that pages with fingerprints can be
// compared.
func signer(label string) *ecdsa.PrivateKey {
	if k, known := keys.Load(label); known {
		return k.(*ecdsa.PrivateKey)
	}
	seed := sha256.Sum256([]byte("mailcertd " + label))
	seed[0] = 0x7f // below the order of the curve
	k := must(ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]))
	keys.Store(label, k)
	return k
}

// rsaKey returns an RSA public key of that size. It has no private key, because the tests need none.
func rsaKey(label string, bits int) *rsa.PublicKey {
	n := make([]byte, 0, bits/8)
	for i := byte(0); len(n) < bits/8; i++ {
		sum := sha256.Sum256(append([]byte(label), i))
		n = append(n, sum[:]...)
	}
	n = n[:bits/8]
	n[0] |= 0x80
	n[len(n)-1] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
}

// public returns the public key of a label: RSA for the labels below, P-256 for all others.
func public(label string) crypto.PublicKey {
	switch label {
	case "rsa-1024":
		return rsaKey(label, 1024)
	case "rsa-2048", "staged":
		return rsaKey(label, 2048)
	}
	return &signer(label).PublicKey
}

// rootOf returns a self-signed CA certificate for the key of a label.
func rootOf(label string, subject pkix.Name, begins, ends time.Time) *x509.Certificate {
	t := &x509.Certificate{SerialNumber: number(label), Subject: subject, NotBefore: begins, NotAfter: ends, IsCA: true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: pki.KeyID(&signer(label).PublicKey)}
	return create(t, t, public(label), label)
}

// cross returns a certificate for the key and name of next, signed by old, whose key has this label.
func cross(next, old *x509.Certificate, label string) *x509.Certificate {
	t := &x509.Certificate{SerialNumber: number("cross " + label), Subject: next.Subject, NotBefore: next.NotBefore,
		NotAfter: old.NotAfter, IsCA: true,
		BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: next.SubjectKeyId}
	return create(t, old, next.PublicKey, label)
}

func create(t, parent *x509.Certificate, pub crypto.PublicKey, label string) *x509.Certificate {
	return must(pki.ParseCertificate(must(x509.CreateCertificate(nil, t, parent, pub, signer(label)))))
}

// number returns a serial number of 64 bits, always the same for the same text.
func number(of string) *big.Int {
	sum := sha256.Sum256([]byte("serial " + of))
	sum[0] = sum[0]&0x3f | 0x40
	return new(big.Int).SetBytes(sum[:8])
}

// leaf describes the certificate of a host.
type leaf struct {
	key          string // label of its key
	names        []string
	begins, ends time.Time
	issuer       string // label of the CA's key; "" for a self-signed certificate
	usage        []x509.ExtKeyUsage
	noSAN        bool
	sha1         bool
	comment      bool // as the base system's stanza makes it, with OpenSSL's comment
	interim      bool
	nameless     bool                // its subject is empty, as public CAs issue them
	behind       []*x509.Certificate // further certificates in host.cert, after the leaf
	serial       *big.Int
}

// netscapeComment is Netscape's nsComment, x509v3_config(5).
var netscapeComment = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 13}

// certificate makes the certificate, signed by issuer.
func (l leaf) certificate(issuer *x509.Certificate) *x509.Certificate {
	t := &x509.Certificate{SerialNumber: l.serial, NotBefore: l.begins, NotAfter: l.ends, ExtKeyUsage: l.usage,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, SubjectKeyId: pki.KeyID(public(l.key))}
	if t.SerialNumber == nil {
		t.SerialNumber = number(l.key + l.issuer + l.begins.String() + l.ends.String())
	}
	if len(l.names) > 0 && !l.nameless {
		t.Subject.CommonName = l.names[0]
	}
	for _, n := range l.names {
		switch ip := net.ParseIP(n); {
		case l.noSAN:
		case ip != nil:
			t.IPAddresses = append(t.IPAddresses, ip)
		default:
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if l.interim {
		t.Subject.Organization = []string{plan.InterimOrganization}
	}
	if l.sha1 {
		t.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	if l.comment {
		t.Subject, t.SerialNumber = issuer.Subject, big.NewInt(1)
		t.ExtraExtensions = []pkix.Extension{{Id: netscapeComment,
			Value: must(asn1.MarshalWithParams("OpenSSL Generated Certificate", "ia5"))}}
	}
	if l.issuer == "" {
		return create(t, t, public(l.key), l.key)
	}
	return create(t, issuer, public(l.key), l.issuer)
}

// list returns a CRL of a CA.
func list(issuer *x509.Certificate, label string, begins, ends time.Time,
	revoked ...x509.RevocationListEntry) *x509.RevocationList {
	t := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: begins, NextUpdate: ends,
		RevokedCertificateEntries: revoked}
	return must(x509.ParseRevocationList(must(x509.CreateRevocationList(nil, t, issuer, signer(label)))))
}

// Request returns a certificate request for a name, in PEM.
func Request(name string) []byte { return must(pki.CreateRequest(signer(name), name, nil, nil)) }
