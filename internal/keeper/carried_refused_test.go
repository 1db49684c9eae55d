package keeper

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// An unsuitable file is refused with the reason, and nothing changes. --force installs what only a person can judge,
// and never what sendmail could not load.
func TestInstallRefused(t *testing.T) {
	now := newSite(t, "issuer: none").now
	good := purchased(t, now, nil)
	key, chain := good.leaf.keyPEM(t), good.middle.pem()+good.root.pem()
	full := key + good.leaf.pem() + chain
	leaf := func(change func(*x509.Certificate)) string {
		l := signed(t, now, name, false, &good.middle, change)
		return l.keyPEM(t) + l.pem() + chain
	}
	other := signed(t, now, name, false, &good.middle, nil)
	locked, err := pki.Encrypt(good.leaf.key, []byte("right"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.CreateRequest(good.leaf.key, name, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	gone := signed(t, now, "Seller's intermediate", true, &good.root, func(c *x509.Certificate) {
		c.NotAfter = now.AddDate(0, 0, -1)
	})
	late := signed(t, now, name, false, &gone, nil)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	small := signedOver(t, now, name, false, short, &good.middle, nil)
	types := func(secret string) func(func([]byte) error) ([]byte, error) {
		return func(opens func([]byte) error) ([]byte, error) { return []byte(secret), opens([]byte(secret)) }
	}
	for _, c := range []struct {
		what   string
		text   string
		secret string // the passphrase that a person types; "" means that nobody can be asked
		why    string // in the refusal; "" means that the file is installed
		forced bool   // --force installs it
		notes  int    // when it is installed without --force
	}{
		{what: "good", text: full},
		{what: "right passphrase", text: string(locked) + good.leaf.pem() + chain, secret: "right"},
		{what: "wrong passphrase", text: string(locked) + good.leaf.pem() + chain, secret: "wrong",
			why: pki.ErrPassphrase.Error()},
		{what: "nobody knows the passphrase", text: string(locked) + good.leaf.pem() + chain,
			why: pki.ErrEncrypted.Error()},
		{what: "certificate for another key", text: key + other.pem() + chain, why: "do not belong together"},
		{what: "without its key", text: good.leaf.pem() + chain, why: "make a new request on this host"},
		{what: "key alone", text: key, why: "no certificate for it"},
		{what: "key and CA", text: key + chain, why: "no certificate for it"},
		{what: "CA alone", text: good.root.pem(), why: "no host certificate"},
		{what: "expired", text: leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }),
			why: "expired on 2026-05-31", forced: true},
		{what: "not yet valid", text: leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }),
			why: "not valid before 2026-06-01 13:00 UTC", forced: true},
		{what: "RSA-1024, over a set that works at any level", text: small.keyPEM(t) + small.pem() + chain,
			why: "too weak for OpenSSL's security level 2", forced: true},
		{what: "wrong name",
			text: leaf(func(c *x509.Certificate) {
				c.Subject.CommonName, c.DNSNames = "", []string{"www.example.org"}
			}), why: "is for www.example.org", forced: true},
		{what: "name only in the CN", text: leaf(func(c *x509.Certificate) { c.DNSNames = nil }), notes: 1},
		{what: "wildcard", text: leaf(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.org"} })},
		{what: "no serverAuth", text: leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), why: "serverAuth", forced: true},
		{what: "no clientAuth", text: leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), notes: 1},
		{what: "any purpose", text: leaf(func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		{what: "missing intermediate", text: key + good.leaf.pem() + good.root.pem(), why: "add the chain",
			forced: true},
		{what: "expired intermediate", text: late.keyPEM(t) + late.pem() + gone.pem() + good.root.pem(),
			why: "expired on 2026-05-31", forced: true},
		{what: "no root", text: key + good.leaf.pem() + good.middle.pem()},
		{what: "two leaves", text: full + other.pem(), why: "2 certificates for hosts"},
		{what: "the same leaf twice", text: full + good.leaf.pem()},
		{what: "two keys", text: full + other.keyPEM(t), why: "2 private keys"},
		{what: "a CA in DER", text: string(good.middle.cert.Raw), why: "no host certificate"},
		{what: "PKCS#7", text: "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n",
			why: "is PKCS#7 in PEM, must be certificate and key in PEM: openssl pkcs7 -print_certs"},
		{what: "request", text: string(csr), why: "mailcertd sign"},
		{what: "empty", text: "", why: pki.ErrGarbage.Error()},
		{what: "text", text: "hello\n", why: pki.ErrGarbage.Error()},
		{what: "cut short", text: full[:len(full)-40], why: "e"},
		{what: "carriage returns", text: strings.ReplaceAll(full, "\n", "\r\n")},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newSite(t, "issuer: none")
			f := makeForeign(t, s.now)
			s.put(f)
			s.settle(plan.Wish{})
			ask := func(in *Incoming) {
				if c.secret != "" {
					in.Passphrase = types(c.secret)
				}
			}
			before := snapshot(t, s.root)
			for _, dry := range []bool{true, false} {
				if dry || c.why != "" {
					_, _, err := s.install(c.text, func(in *Incoming) { ask(in); in.DryRun = dry })
					if (err != nil) != (c.why != "") || err != nil && !strings.Contains(err.Error(), c.why) {
						t.Errorf("dry run %v: %v, want %q", dry, err, c.why)
					}
					if err != nil && strings.Contains(err.Error(), "--force") != c.forced {
						t.Errorf("the refusal does not say what to do: %v", err)
					}
					if after := snapshot(t, s.root); after != before {
						t.Fatalf("dry run %v changed something:\n%s\n\n%s", dry, before, after)
					}
				}
			}
			force := func(in *Incoming) { ask(in); in.Force = c.why != "" }
			_, notes, err := s.install(c.text, force)
			switch {
			case c.why != "" && !c.forced:
				if err == nil || snapshot(t, s.root) != before {
					t.Errorf("with --force: %v", err)
				}
			case err != nil:
				t.Errorf("installed: %v", err)
			case c.forced && !strings.Contains(strings.Join(notes, "\n"), c.why) || !c.forced && len(notes) != c.notes:
				t.Errorf("notes: %q", notes)
			default:
				p, err := pki.ParseKey(s.read(s.certs("host.key")))
				if err != nil || !pki.SamePublicKey(p.Public(), s.leaf().PublicKey) || !s.savedForGood(f.key) ||
					!s.savedForGood(f.cert) {
					t.Errorf("key and certificate were not installed together: %v", err)
				}
				s.twice(c.text, force)
			}
		})
	}
}

// Callers can test the errors of InstallFile with errors.Is.
func TestInstallErrors(t *testing.T) {
	s := newSite(t, "issuer: none")
	b := purchased(t, s.now, nil)
	locked, err := pki.Encrypt(b.leaf.key, []byte("right"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.install(string(locked)+b.leaf.pem(), func(in *Incoming) {
		in.Passphrase = func(opens func([]byte) error) ([]byte, error) { return nil, opens([]byte("wrong")) }
	})
	if !errors.Is(err, pki.ErrPassphrase) {
		t.Error(err)
	}
}
