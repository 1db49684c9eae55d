package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// era is one generation of a CA and what it issued while it was in force.
type era struct {
	cert *x509.Certificate
	key  crypto.Signer
	leaf *x509.Certificate
}

// eras makes three generations with a leaf of each, and returns what is needed to sign with them later. The files
// root-N, leaf-N and cross-N in the CA directory contain the certificates.
func eras(t *testing.T, o Options, name string) (out []era) {
	t.Helper()
	ctx, d, now := context.Background(), &durable.Disk{}, time.Now()
	if _, err := Init(ctx, d, o, rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		key, err := readKey(filepath.Join(o.Dir, keyName), nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := Issue(ctx, d, o, Request{Public: newKey(t).Public(), Name: name, Days: 90, Backdate: time.Minute},
			rand.Reader, now)
		if err != nil {
			t.Fatal(err)
		}
		e := era{Observe(o.Dir, Filter{}).Current.Cert, key, leaf}
		save(t, o, fmt.Sprint("root-", n), e.cert)
		save(t, o, fmt.Sprint("leaf-", n), leaf)
		if out = append(out, e); n == 3 {
			return out
		}
		o.Subject.CommonName = fmt.Sprintf("another name %d", n) // the later generations do not use this name
		if _, err := StartNext(ctx, d, o, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
		save(t, o, fmt.Sprint("cross-", n+1), Observe(o.Dir, Filter{}).Next.Cross)
		if _, err := Promote(ctx, d, o); err != nil {
			t.Fatal(err)
		}
	}
}

func save(t *testing.T, o Options, name string, certs ...*x509.Certificate) {
	t.Helper()
	var b []byte
	for _, c := range certs {
		b = append(b, pki.EncodeCertificate(c.Raw)...)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// verifies returns what openssl says against a certificate; "" means that it accepts it.
func verifies(t *testing.T, o Options, args ...string) string {
	t.Helper()
	out, err := openssl(t, o.Dir, append([]string{"verify", "-no-CApath", "-no-CAstore", "-x509_strict"}, args...)...)
	if err != nil {
		return out
	}
	return ""
}

func load(t *testing.T, o Options, name string) *x509.Certificate {
	t.Helper()
	cs, _ := readCerts(filepath.Join(o.Dir, name))
	if len(cs) != 1 {
		t.Fatalf("%s contains %d certificates", name, len(cs))
	}
	return cs[0]
}

func TestGenerationsAgainstOpenssl(t *testing.T) {
	openssltest.Need(t)
	o := options(filepath.Join(t.TempDir(), "CA"))
	o.Subject = Subject{Country: "JP", Organization: "Müller/Söhne ", CommonName: "Home CA"}
	all := eras(t, o, "mail.example.org")
	for i, e := range all {
		if !bytes.Equal(e.cert.RawSubject, all[0].cert.RawSubject) ||
			!bytes.Equal(e.cert.RawIssuer, all[0].cert.RawSubject) ||
			bytes.Equal(e.cert.SubjectKeyId, all[(i+1)%3].cert.SubjectKeyId) {
			t.Errorf("generation %d: subject %q, issuer %q", i+1, e.cert.RawSubject, e.cert.RawIssuer)
		}
	}
	for _, name := range []string{"root-1", "root-2", "root-3", "cross-2", "cross-3"} {
		if out := mustOpenssl(t, o.Dir, "x509", "-noout", "-text", "-in", name); !strings.Contains(out,
			"CA:TRUE, pathlen:0") || !strings.Contains(out, "Certificate Sign, CRL Sign") {
			t.Errorf("%s:\n%s", name, out)
		}
	}
	save(t, o, "bundle", all[2].cert, all[1].cert, all[0].cert)
	save(t, o, "crosses", load(t, o, "cross-3"), load(t, o, "cross-2"))
	for _, c := range []struct {
		why  string // what openssl says
		args []string
	}{
		{"", []string{"-CAfile", "bundle", "leaf-1", "leaf-2", "leaf-3"}},
		{"", []string{"-CAfile", "root-1", "leaf-1"}},
		{"", []string{"-CAfile", "root-1", "-untrusted", "cross-2", "leaf-2"}},
		{"", []string{"-CAfile", "root-2", "-untrusted", "cross-3", "leaf-3"}},
		{"", []string{"-CAfile", "root-1", "-untrusted", "crosses", "leaf-3"}},
		{"", []string{"-CAfile", "root-2", "-untrusted", "crosses", "leaf-2"}},
		{"error", []string{"-CAfile", "root-1", "leaf-2"}},
		{"error", []string{"-CAfile", "root-1", "-untrusted", "cross-3", "leaf-3"}},
		{"error", []string{"-CAfile", "root-2", "leaf-1"}},
	} {
		if got := verifies(t, o, c.args...); (got == "") != (c.why == "") {
			t.Errorf("%v: %s", c.args, got)
		}
	}
	// A CA below this one is not accepted, whoever signed it by mistake.
	key, below := newKey(t), newKey(t)
	name, err := pki.RawName(pki.Attribute{Type: "CN", Value: "below"})
	if err != nil {
		t.Fatal(err)
	}
	sub := &x509.Certificate{SerialNumber: big.NewInt(99), RawSubject: name, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().AddDate(0, 1, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: pki.KeyID(key.Public())}
	if sub, err = create(sub, all[2].cert, key.Public(), all[2].key, rand.Reader); err != nil {
		t.Fatal(err)
	}
	leaf, err := create(&x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: all[0].leaf.RawSubject,
		NotBefore: sub.NotBefore, NotAfter: sub.NotAfter, DNSNames: []string{"x.example.org"},
		SubjectKeyId: pki.KeyID(below.Public())}, sub, below.Public(), key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	save(t, o, "sub", sub)
	save(t, o, "below", leaf)
	if out := verifies(t, o, "-CAfile", "root-3", "-untrusted", "sub", "below"); !strings.Contains(out,
		"path length constraint exceeded") {
		t.Errorf("below: %s", out)
	}
}

// permitted_domains applies to every generation, and to the cross-certificate that the previous generation signed for
// it.
func TestNameConstraintsAgainstOpenssl(t *testing.T) {
	openssltest.Need(t)
	o := options(filepath.Join(t.TempDir(), "CA"))
	o.Host, o.PermittedDomains = "mail.example.net", []string{"example.net", "example.org"}
	all := eras(t, o, "mail.example.net")
	for _, name := range []string{"root-1", "root-2", "root-3", "cross-2", "cross-3"} {
		critical := false
		for _, x := range load(t, o, name).Extensions {
			critical = critical || x.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) && x.Critical
		}
		if out := mustOpenssl(t, o.Dir, "x509", "-noout", "-text", "-in", name); !critical ||
			!strings.Contains(out, "DNS:example.net") || !strings.Contains(out, "DNS:example.org") {
			t.Errorf("%s: critical %v\n%s", name, critical, out)
		}
	}
	for i, e := range all {
		for name, fine := range map[string]bool{"example.net": true, "a.b.example.org": true, "mail.example.com": false,
			"evilexample.net": false} {
			key := newKey(t)
			c, err := create(&x509.Certificate{SerialNumber: big.NewInt(77), RawSubject: []byte{0x30, 0},
				NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(0, 1, 0),
				DNSNames: []string{"mail.example.net", name}, SubjectKeyId: pki.KeyID(key.Public()),
				AuthorityKeyId: e.cert.SubjectKeyId,
			}, e.cert, key.Public(), e.key, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			save(t, o, "trial", c)
			ways := [][]string{{"-CAfile", fmt.Sprint("root-", i+1)}}
			if i > 0 {
				ways = append(ways, []string{"-CAfile", fmt.Sprint("root-", i), "-untrusted",
					fmt.Sprint("cross-", i+1)})
			}
			for _, way := range ways {
				out := verifies(t, o, append(way, "trial")...)
				if (out == "") != fine || !fine && !strings.Contains(out, "permitted subtree violation") {
					t.Errorf("%s by generation %d, %v: %s", name, i+1, way, out)
				}
			}
		}
	}
}

// The CRLs of all generations serve the leaves of each: openssl uses any of them, because the generations have the same
// name.
func TestCRLAgainstOpenssl(t *testing.T) {
	openssltest.Need(t)
	o := options(filepath.Join(t.TempDir(), "CA"))
	all := eras(t, o, "mail.example.org")
	d, now := &durable.Disk{}, time.Now()
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check := func(when string, revoked ...bool) {
		t.Helper()
		obs := s.Observed()
		var text []byte
		for _, l := range obs.CRL.Lists {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})...)
		}
		if len(obs.CRL.Lists) != 3 || obs.CRL.Behind {
			t.Fatalf("%s: %d lists, behind: %v", when, len(obs.CRL.Lists), obs.CRL.Behind)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, "crls"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		// Bundle leaves out a generation that has no valid leaf any more.
		save(t, o, "bundle", all[2].cert, all[1].cert, all[0].cert)
		for i := range all {
			for _, list := range []string{"crls",
				map[int]string{0: "gen-1/crl.pem", 1: "gen-2/crl.pem", 2: "crl.pem"}[i]} {
				out := verifies(t, o, "-CAfile", "bundle", "-crl_check", "-CRLfile", list, fmt.Sprint("leaf-", i+1))
				if (out == "") == revoked[i] || revoked[i] && !strings.Contains(out, "certificate revoked") {
					t.Errorf("%s: leaf %d with %s, want revoked %v: %s", when, i+1, list, revoked[i], out)
				}
			}
		}
	}
	write := func() {
		t.Helper()
		if err := s.WriteCRL(rand.Reader, now); err != nil {
			t.Fatal(err)
		}
	}
	write()
	check("nothing revoked", false, false, false)
	for i, when := range []string{"the first", "the second", "the third"} {
		if err := s.Revoke(all[i].leaf.SerialNumber, "keyCompromise", now); err != nil {
			t.Fatal(err)
		}
		if !s.Observed().CRL.Behind {
			t.Errorf("%s is revoked, and no list is behind", when)
		}
		write()
		check(when+" revoked", true, i > 0, i > 1)
	}
	if out := mustOpenssl(t, o.Dir, "crl", "-noout", "-text", "-in", "crl.pem"); !strings.Contains(out,
		"Key Compromise") || !strings.Contains(out, "Version 2") {
		t.Errorf("%s", out)
	}
}
