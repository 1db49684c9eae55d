package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/pki"
)

// A certificate with which nobody would accept what its key signs is not accepted as that of a CA.
func TestUnusableCA(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		usable bool
	}{
		"as it is":       {func(*x509.Certificate) {}, true},
		"all key usages": {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature }, true},
		"no key usage":   {func(c *x509.Certificate) { c.KeyUsage = 0 }, true},
		"CA:FALSE": {func(c *x509.Certificate) {
			c.IsCA, c.MaxPathLenZero = false, false
			c.KeyUsage = 0
		}, false},
		"no constraints": {func(c *x509.Certificate) { c.BasicConstraintsValid, c.KeyUsage = false, 0 }, false},
		"for signatures": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, false},
		"for lists only": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, d := made(t)
			key, err := readKey(filepath.Join(o.Dir, keyName), nil)
			if err != nil {
				t.Fatal(err)
			}
			tmpl := *Observe(o.Dir, Filter{}).Current.Cert
			tmpl.ExtraExtensions = nil
			c.change(&tmpl)
			der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(o.Dir, certName), pki.EncodeCertificate(der), 0o644); err != nil {
				t.Fatal(err)
			}
			obs := Observe(o.Dir, Filter{})
			if (obs.Status == Complete) != c.usable || has(obs.Faults, FaultCert) == c.usable ||
				(len(Bundle(obs, start)) > 0) != c.usable {
				t.Errorf("status %s, faults %v, %d trusted", obs.Status, obs.Faults, len(Bundle(obs, start)))
			}
			if _, err := Issue(context.Background(), d, o, request(t), rand.Reader, start); (err == nil) != c.usable {
				t.Errorf("issuing: %v", err)
			}
			if rows := Observe(o.Dir, Filter{}).index(); !c.usable && len(rows) > 0 {
				t.Errorf("%d rows", len(rows))
			}
		})
	}
}
