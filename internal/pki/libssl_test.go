package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// host makes a key and a certificate for it that another key has signed.
func host(t *testing.T, kt KeyType, alg x509.SignatureAlgorithm) (cert, key []byte) {
	t.Helper()
	signer, err := GenerateKey(kt, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var ca crypto.Signer = signer
	if alg != 0 {
		if ca, err = GenerateKey(RSA2048, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0),
		Subject: pkix.Name{CommonName: "mail.example.org"}, DNSNames: []string{"mail.example.org"},
		SignatureAlgorithm: alg}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "Seller"}}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, signer.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = MarshalKey(signer); err != nil {
		t.Fatal(err)
	}
	return EncodeCertificate(der), key
}

// signedWith returns the certificate with another AlgorithmIdentifier.
func signedWith(t *testing.T, cert, id []byte) []byte {
	t.Helper()
	p, _ := pem.Decode(cert)
	root, _ := parseNode(t, p.Bytes)
	for _, n := range []*node{root.children[0].children[2], root.children[1]} {
		n.body, n.children = id, nil
	}
	return EncodeCertificate(root.bytes())
}

// Keys and digests are judged as libssl does at each security level.
func TestStrengthAsLibssl(t *testing.T) {
	dir := t.TempDir()
	var questions []string
	var wants []string
	add := func(name string, cert, key []byte) {
		c, k := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		if os.WriteFile(c, cert, 0o600) != nil || os.WriteFile(k, key, 0o600) != nil {
			t.Fatal("cannot write")
		}
		f := ReadLeafFile(cert)
		if f.Err != nil {
			t.Fatalf("%s: %v", name, f.Err)
		}
		most := 5
		if f.Certs[0].PublicKey == nil {
			most = 2 // a type that is not known here is refused at no level below this one
		}
		for level := 0; level <= most; level++ {
			questions = append(questions, fmt.Sprintf("pair\t%d\t%s\t%s", level, c, k))
			wants = append(wants, name+": "+Libssl{}.AtLevel(level).Refuses(f.Certs[0]))
		}
	}
	for _, bits := range []int{512, 888, 904, 1000, 1024, 1960, 1984, 2040, 2048, 3064, 3072} {
		key := openssl(t, nil, "genrsa", "-traditional", fmt.Sprint(bits))
		add(fmt.Sprint("rsa", bits), openssl(t, key, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config",
			"/dev/null"), key)
	}
	for _, kind := range [][]string{{"-algorithm", "ED448"}, {"-algorithm", "ED25519"},
		{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
		{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"},
		{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"},
		{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"},
		{"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"}} {
		key := openssl(t, nil, append([]string{"genpkey"}, kind...)...)
		add(strings.Join(kind[1:], "-"), openssl(t, key, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x",
			"-config", "/dev/null"), key)
	}
	for _, alg := range []x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.SHA256WithRSA, x509.SHA384WithRSA,
		x509.SHA512WithRSA, x509.SHA512WithRSAPSS} {
		cert, key := host(t, ECDSAP384, alg)
		add(alg.String(), cert, key)
	}
	// These are algorithms that crypto/x509 does not know, and some that nobody knows.
	cert, key := host(t, ECDSAP384, x509.SHA256WithRSA)
	for name, id := range map[string]string{
		"MD2": "06092a864886f70d010102 0500", "MD4": "06092a864886f70d010103 0500",
		"MD5": "06092a864886f70d010104 0500", "SHA-224": "06092a864886f70d01010e 0500",
		"SHA-1 of OIW": "06052b0e03021d", "RIPEMD": "06062b2403030102 0500", "SHA3": "060960864801650304030e 0500",
		"PSS without parameters": "06092a864886f70d01010a", "PSS of SHA-1": "06092a864886f70d01010a 3000",
		"PSS of SHA-224": "06092a864886f70d01010a " +
			"302ba00d300b0609608648016503040204a11a301806092a864886f70d010108300b0609608648016503040204",
	} {
		raw, err := hex.DecodeString(strings.ReplaceAll(id, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		add("signed with "+name, signedWith(t, cert, raw), key)
	}
	unknown, _ := hex.DecodeString("06042a030405")
	if c := ReadLeafFile(signedWith(t, cert, unknown)); c.Err != nil || SignatureKnown(c.Certs[0]) ||
		SignatureOID(c.Certs[0]) != "1.2.3.4.5" {
		t.Errorf("an unknown algorithm: %v", c.Err)
	}
	if (Libssl{}) != (Libssl{}).AtLevel(1) && (Libssl{}).SecurityLevel() != 1 ||
		(Libssl{}).AtLevel(0).SecurityLevel() != 0 {
		t.Error("the zero value is not level 1")
	}
	for i, answer := range openssltest.Libssl(t, questions) {
		name, want, _ := strings.Cut(wants[i], ": ")
		_, why, _ := strings.Cut(answer, "\t")
		if want != why {
			t.Errorf("%s, %s: we say %q, libssl says %q", name, questions[i][:6], want, answer)
		}
	}
}

// A certificate that crypto/x509 refuses still gives its name, its key and its dates.
func TestOddCertificates(t *testing.T) {
	key := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	for name, args := range map[string][]string{
		"a serial below zero":      {"-set_serial", "-5"},
		"a DNS name outside ASCII": {"-addext", "subjectAltName=DER:30098207ffffffffffffff"},
	} {
		data := openssl(t, key,
			append([]string{"req", "-x509", "-key", "/dev/stdin", "-subj", "/O=Odd/CN=x", "-config",
				"/dev/null"}, args...)...)
		f := ReadCertFile(data)
		if f.Err != nil || len(f.Certs) != 1 {
			t.Errorf("%s: %d, %v", name, len(f.Certs), f.Err)
			continue
		}
		c := f.Certs[0]
		want := strings.TrimSpace(string(openssl(t, data, "x509", "-noout", "-hash")))
		_, parse := x509.ParseCertificate(c.Raw) // otherwise the case is not odd enough
		if parse == nil || HashName(c.RawSubject, 0) != want+".0" ||
			!SamePublicKey(c.PublicKey, ReadKeyFile(key).Public) || c.NotAfter.Before(time.Now()) || !SelfSigned(c) {
			t.Errorf("%s: parses with %v, hash %s, want %s, ends %v, %q", name, parse, HashName(c.RawSubject, 0), want,
				c.NotAfter, c.Subject)
		}
	}
}

// libssl loads every key under the label of another type that we accept. This is compared with libssl and not with
// openssl(1), which reads more than libssl does.
func TestKeyLabelsAsLibssl(t *testing.T) {
	dir := t.TempDir()
	rsa := openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	ec := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	var keys []KeyFile
	var questions, names []string
	for name, bodies := range map[string][][]byte{"rsa": {rsa, openssl(t, rsa, "rsa", "-traditional")},
		"ec": {ec, openssl(t, ec, "ec")}} {
		cert := filepath.Join(dir, name+".crt")
		if err := os.WriteFile(cert, openssl(t, bodies[0], "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x",
			"-config", "/dev/null"), 0o600); err != nil {
			t.Fatal(err)
		}
		for i, body := range bodies {
			for _, label := range []string{"", "RSA ", "EC ", "DSA "} {
				data := keyLabel.ReplaceAll(body, []byte("$1 "+label+"PRIVATE KEY"))
				path := filepath.Join(dir, fmt.Sprintf("%s%d%s.key", name, i, strings.TrimSpace(label)))
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				names = append(names, filepath.Base(path))
				keys = append(keys, ReadKeyFile(data))
				questions = append(questions, "pair\t1\t"+cert+"\t"+path)
			}
		}
	}
	taken := 0
	for i, answer := range openssltest.Libssl(t, questions) {
		if keys[i].Err == nil {
			taken++
		}
		if loads := answer == "ok"; loads != (keys[i].Err == nil) && !errors.Is(keys[i].Err, ErrUnsupported) {
			t.Errorf("%s: libssl: %s; we: %v", names[i], answer, keys[i].Err)
		}
	}
	if taken < 6 {
		t.Errorf("only %d were accepted", taken)
	}
}

// keyLabel matches the label in the first and in the last line of a private key.
var keyLabel = regexp.MustCompile(`(BEGIN|END) [A-Z ]*PRIVATE KEY`)
