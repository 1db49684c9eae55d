package keeper

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// bought is what a public CA sells: a leaf under two intermediates, and their root.
type bought struct {
	key                   []byte
	leaf, low, high, root *x509.Certificate
}

func buy(t testing.TB, now time.Time, serial int64) bought {
	t.Helper()
	var b bought
	var parent *x509.Certificate
	var signer any
	for i, cn := range []string{"Root", "High", "Low", name} {
		key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn},
			NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0),
			IsCA: i < 3, BasicConstraintsValid: true}
		if i == 3 {
			tmpl.DNSNames = []string{name}
			b.key, _ = pki.MarshalKey(key)
		}
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		*[]**x509.Certificate{&b.root, &b.high, &b.low, &b.leaf}[i] = c
		parent, signer = c, key
	}
	return b
}

// chains says whether openssl verifies the leaf with the certs directory alone, as sendmail must, which loads only the
// leaf.
func (s *site) chains(b bought) bool {
	s.t.Helper()
	leaf := filepath.Join(s.t.TempDir(), "leaf.pem")
	s.write(leaf, pki.EncodeCertificate(b.leaf.Raw))
	out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-no_check_time", "-CApath", s.certs(""),
		leaf).CombinedOutput()
	return err == nil && strings.Contains(string(out), "OK")
}

// The intermediates of a certificate that is kept can be found by hash links with the names that openssl rehash gives.
// They are removed together with the certificate.
func TestIntermediates(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "")
	b := buy(t, s.now, 7)
	hostCert := bundle(b.leaf, b.low, b.high)
	s.put(foreign{b.key, hostCert, bundle(b.root)})
	r := s.settle(plan.Wish{})
	if !s.chains(b) || r.Plan.Facts.Owner != plan.Foreign {
		t.Errorf("openssl finds no chain; the certificate is %s", r.Plan.Facts.Owner)
	}
	s.expect("as bought", cas{b.low, b.high}, nil)
	if _, err := os.Stat(s.caFile(b.root)); err == nil {
		t.Error("a certificate in cacert.pem has a file as well")
	}
	if !bytes.Equal(hostCert, s.read(s.certs("host.cert"))) {
		t.Error("host.cert was changed")
	}
	if s.settle(plan.Wish{}).Changed {
		t.Error("a second ensure changed something")
	}

	// openssl rehash over the same files makes the same names.
	flat := t.TempDir()
	for i, path := range []string{s.certs("cacert.pem"), s.caFile(b.low), s.caFile(b.high)} {
		s.write(filepath.Join(flat, string(rune('a'+i))+".pem"), s.read(path))
	}
	if out, err := exec.Command("openssl", "rehash", flat).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names := func(dir string) string {
		all, _ := filepath.Glob(filepath.Join(dir, "????????.[0-9]"))
		for i := range all {
			all[i] = filepath.Base(all[i])
		}
		return strings.Join(all, " ")
	}
	if names(flat) != names(s.certs("")) {
		t.Errorf("openssl rehash: %s, ours: %s", names(flat), names(s.certs("")))
	}

	// After another purchase the old intermediates are removed. Then the new ones are in cacert.pem and need no file.
	b2 := buy(t, s.now, 8)
	s.put(foreign{b2.key, bundle(b2.leaf, b2.low, b2.high), bundle(b2.root)})
	s.settle(plan.Wish{})
	if !s.chains(b2) {
		t.Error("no chain for the second one")
	}
	s.expect("bought again", cas{b2.low, b2.high}, cas{b.low, b.high})
	s.put(foreign{b2.key, bundle(b2.leaf, b2.low, b2.high), bundle(b2.root, b2.high, b2.low)})
	s.settle(plan.Wish{})
	if files, _ := filepath.Glob(s.certs("trust/*")); len(files) > 0 || !s.chains(b2) {
		t.Errorf("left: %v, chain: %v", files, s.chains(b2))
	}
}

// A certificate of ours has no intermediates. Those of a bought one are removed when `renew --force` replaces it, and
// stay while a person copies files.
func TestIntermediatesStay(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "issuer: none")
	b := buy(t, s.now, 7)
	hostCert := bundle(b.leaf, b.low, b.high)
	s.put(foreign{b.key, hostCert, bundle(b.root)})
	s.settle(plan.Wish{})
	for _, half := range [][]byte{hostCert[:len(hostCert)/2], bundle(buy(t, s.now, 9).leaf), nil} {
		if half == nil {
			if err := os.Remove(s.certs("host.cert")); err != nil {
				t.Fatal(err)
			}
		} else {
			s.write(s.certs("host.cert"), half)
		}
		if _, err := s.Look(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		s.expect("half copied", cas{b.low, b.high}, nil)
	}
	s.write(s.certs("host.cert"), hostCert)
	s.configure("issuer: local")
	s.settle(plan.Wish{})
	s.expect("whole again", cas{b.low, b.high}, nil)
	s.settle(plan.Wish{Renew: true, Force: true, From: pki.Fingerprint(b.leaf)})
	s.expect("replaced", nil, cas{b.low, b.high})
}
