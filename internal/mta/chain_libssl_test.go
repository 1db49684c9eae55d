package mta

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// world makes small PKIs in which now and then something is unusual: an expired certificate, a wrong key identifier,
// two CAs with one name, a root of X.509 version 1, SHA-1, name constraints.
type world struct {
	t    *testing.T
	r    *mrand.Rand
	keys []*ecdsa.PrivateKey
	now  time.Time
}

type made struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (w *world) rarely() bool { return w.r.IntN(14) == 0 }

// sign makes one certificate. With a nil parent it is self-signed.
func (w *world) sign(name string, parent *made, leaf bool) made {
	key := w.keys[w.r.IntN(len(w.keys))]
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(1 + w.r.IntN(1000000))),
		Subject:   pkix.Name{Organization: []string{"Trust"}, CommonName: name},
		NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(time.Hour)}
	if w.rarely() {
		c.NotAfter = w.now.Add(-time.Minute)
	} else if w.r.IntN(40) == 0 {
		c.NotBefore = w.now.Add(time.Minute)
	}
	if !leaf {
		c.BasicConstraintsValid, c.IsCA, c.MaxPathLen = true, true, -1
		switch w.r.IntN(20) {
		case 0:
			c.BasicConstraintsValid, c.IsCA, c.MaxPathLen = false, false, 0
		case 1:
			c.IsCA, c.MaxPathLen = false, 0
		case 2:
			c.MaxPathLen, c.MaxPathLenZero = 0, true
		case 3:
			c.MaxPathLen = 1
		}
		if w.r.IntN(2) == 0 {
			c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		}
		if w.rarely() {
			c.PermittedDNSDomains = []string{[]string{"example.org", "other.example", ".example.org"}[w.r.IntN(3)]}
		}
		if w.r.IntN(30) == 0 {
			c.ExcludedDNSDomains = []string{[]string{"example.org", "other.example"}[w.r.IntN(2)]}
		}
	} else if w.r.IntN(4) > 0 {
		c.DNSNames = []string{"mail.example.org"}
	}
	if w.rarely() {
		c.KeyUsage = []x509.KeyUsage{x509.KeyUsageDigitalSignature, x509.KeyUsageKeyEncipherment,
			x509.KeyUsageCRLSign}[w.r.IntN(3)]
	}
	if w.rarely() {
		c.ExtKeyUsage = []x509.ExtKeyUsage{[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth,
			x509.ExtKeyUsageAny}[w.r.IntN(3)]}
	}
	if w.r.IntN(40) == 0 {
		c.ExtraExtensions = append(c.ExtraExtensions,
			pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: w.r.IntN(2) == 0, Value: []byte{5, 0}})
	}
	if w.r.IntN(3) > 0 {
		c.SubjectKeyId = pki.KeyID(key.Public())
	} else {
		c.SubjectKeyId = []byte(name) // without it crypto/x509 makes one for CAs
	}
	if w.rarely() {
		c.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	self := made{c, key}
	if parent == nil {
		parent = &self
	}
	w.authorityKey(c, parent)
	signer := parent.key
	if w.r.IntN(30) == 0 {
		signer = w.keys[w.r.IntN(len(w.keys))]
	}
	// crypto/x509 would copy the key identifier of the parent's template.
	template := *parent.cert
	template.SubjectKeyId, template.PublicKey = nil, nil
	der, err := x509.CreateCertificate(rand.Reader, c, &template, key.Public(), signer)
	if err != nil {
		w.t.Fatal(err)
	}
	if !leaf && parent.key == key && w.r.IntN(10) == 0 {
		der = w.versionOne(der, key)
	}
	x, err := pki.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return made{x, key}
}

// authorityKey identifies the issuer in one of the ways of RFC 5280 section 4.2.1.1, or identifies it wrongly.
func (w *world) authorityKey(c *x509.Certificate, parent *made) {
	var parts []byte
	add := func(tag int, compound bool, b []byte) {
		der, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag,
			IsCompound: compound, Bytes: b})
		parts = append(parts, der...)
	}
	switch w.r.IntN(6) {
	case 0, 1:
		return
	case 2, 3:
		id := parent.cert.SubjectKeyId
		if w.rarely() {
			id = []byte("somebody else")
		}
		add(0, false, id)
	default:
		issuer := parent.cert.RawIssuer
		if len(issuer) == 0 { // the issuer is the certificate itself
			issuer, _ = asn1.Marshal(c.Subject.ToRDNSequence())
		}
		serial := parent.cert.SerialNumber
		if w.rarely() {
			serial = big.NewInt(77)
		}
		name, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true,
			Bytes: issuer})
		add(1, true, name)
		number, _ := asn1.Marshal(serial)
		var v asn1.RawValue
		_, _ = asn1.Unmarshal(number, &v)
		add(2, false, v.Bytes)
	}
	value, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: parts})
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: value})
}

// versionOne removes the version and the extensions and signs again.
func (w *world) versionOne(der []byte, key *ecdsa.PrivateKey) []byte {
	var cert struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		w.t.Fatal(err)
	}
	var body []byte
	for rest := cert.TBS.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		rest, _ = asn1.Unmarshal(rest, &v)
		if v.Class == asn1.ClassUniversal {
			body = append(body, v.FullBytes...)
		}
	}
	tbs, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	x, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	h := x.SignatureAlgorithm
	sum := digestOf(h, tbs)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum)
	if err != nil {
		w.t.Fatal(err)
	}
	bits, _ := asn1.Marshal(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)})
	out, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true,
		Bytes: bytes.Join([][]byte{tbs, cert.Algorithm.FullBytes, bits}, nil)})
	return out
}

// For thousands of chains our verdict is that of X509_verify_cert(3), in the same words.
func TestChainsAsLibssl(t *testing.T) {
	w := &world{t: t, r: mrand.New(mrand.NewPCG(3, 4)), now: time.Unix(1_800_000_000, 0)}
	for range 5 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		w.keys = append(w.keys, k)
	}
	dir := t.TempDir()
	var questions, ours []string
	for n := range 1500 {
		store, shown, usage, word := w.chain()
		level := w.r.IntN(4)
		write := func(kind string, certs []*x509.Certificate) string {
			path := filepath.Join(dir, fmt.Sprint(n, kind))
			var data []byte
			for _, c := range certs {
				data = append(data, pki.EncodeCertificate(c.Raw)...)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		questions = append(questions, fmt.Sprintf("chain\t%s\t%d\t%d\t%s\t%s", word, w.now.Unix(), level,
			write("store", store), write("shown", shown)))
		ours = append(ours, verifyChain(pki.Libssl{}.AtLevel(level), shown, store, usage, w.now))
	}
	good, words := 0, 0
	for i, answer := range openssltest.Libssl(t, questions) {
		_, theirs, _ := strings.Cut(answer, "\t")
		switch {
		case (ours[i] == "") != (theirs == ""):
			t.Errorf("chain %d: we say %q, libssl %q", i, ours[i], theirs)

		case theirs == "":
			good++
		case ours[i] != theirs:
			if words++; words < 30 {
				t.Logf("chain %d: we say %q, libssl %q", i, ours[i], theirs)
			}
		}
	}
	if good < 300 || words > 0 {
		t.Errorf("%d chains are good, %d have another reason", good, words)
	}
	t.Logf("%d chains, %d good, %d refused for another reason", len(ours), good, words)
}

// chain makes a PKI with one or two roots, up to two levels of CAs, cross-certificates, and a leaf.
func (w *world) chain() (store, shown []*x509.Certificate, usage x509.ExtKeyUsage, word string) {
	roots := []made{w.sign("Root", nil, false)}
	if w.r.IntN(3) == 0 {
		roots = append(roots, w.sign([]string{"Root", "Other"}[w.r.IntN(2)], nil, false))
	}
	var others []made
	top := roots[w.r.IntN(len(roots))]
	for level := range w.r.IntN(3) {
		next := w.sign(fmt.Sprint("CA ", level), &top, false)
		others = append(others, next)
		top = next
	}
	if len(roots) > 1 && w.r.IntN(2) == 0 { // the second root certifies the key of the first
		cross := w.cross(roots[0], roots[1])
		others = append(others, cross)
	}
	leaf := w.sign("mail.example.org", &top, true)
	shown = append(shown, leaf.cert)
	for _, o := range others {
		if w.r.IntN(5) > 0 {
			shown = append(shown, o.cert)
		}
		if w.r.IntN(5) == 0 {
			store = append(store, o.cert)
		}
	}
	for _, o := range roots {
		if w.r.IntN(12) > 0 {
			store = append(store, o.cert)
		}
		if w.r.IntN(4) == 0 {
			shown = append(shown, o.cert)
		}
	}
	if w.r.IntN(2) == 0 {
		return store, shown, x509.ExtKeyUsageServerAuth, "sslserver"
	}
	return store, shown, x509.ExtKeyUsageClientAuth, "sslclient"
}

func (w *world) cross(subject, issuer made) made {
	c := *subject.cert
	c.SerialNumber = big.NewInt(int64(w.r.IntN(1000)) + 1)
	c.NotBefore, c.NotAfter = w.now.Add(-2*time.Hour), w.now.Add(time.Duration(w.r.IntN(3)-1)*time.Hour)
	c.ExtraExtensions, c.Extensions, c.AuthorityKeyId = nil, nil, nil
	c.SignatureAlgorithm = 0
	if !c.BasicConstraintsValid {
		c.MaxPathLen = 0
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, issuer.cert, subject.key.Public(), issuer.key)
	if err != nil {
		w.t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return made{x, subject.key}
}

func digestOf(a x509.SignatureAlgorithm, b []byte) []byte {
	if a == x509.ECDSAWithSHA1 {
		sum := sha1.Sum(b)
		return sum[:]
	}
	sum := sha256.Sum256(b)
	return sum[:]
}
