package keeper

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A damaged file in the CA directory removes nothing from the certs directory: host.cert still verifies, every
// generation stays trusted, and every CRL stays.
func TestDamagedGenerationStaysTrusted(t *testing.T) {
	t.Parallel()
	garbage := func(p string) error { return os.WriteFile(p, []byte("no certificate\n"), 0o644) }
	gone := os.Remove
	fifo := func(p string) error { _ = os.Remove(p); return syscall.Mkfifo(p, 0o600) }
	other := func(p string) error { return os.WriteFile(p, bundle(caCert(t, "Other", false)), 0o644) }
	for _, c := range []struct {
		name, path string
		spoil      func(string) error
	}{
		{"the certificate in force is garbage", "cacert.pem", garbage},
		{"the certificate in force is gone", "cacert.pem", gone},
		{"the certificate in force is a FIFO", "cacert.pem", fifo},
		{"the certificate in force is another CA's", "cacert.pem", other},
		{"an older one is garbage", "gen-1/cacert.pem", garbage},
		{"an older one is gone", "gen-1/cacert.pem", gone},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, "crl: {install: true}")
			s.settle(plan.Wish{})
			rollover(t, s)
			s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
			want, list := s.read(s.certs(certdir.CAName)), s.read(s.certs(certdir.CRLName))
			if n := bytes.Count(want, []byte("BEGIN CERT")); n != 2 || s.verify() != nil {
				t.Fatalf("%d generations are trusted, %v", n, s.verify())
			}
			if err := c.spoil(filepath.Join(s.cfg.CA.Dir, c.path)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				s.now = s.now.Add(time.Minute)
				_ = s.ensure()
			}
			got := pki.ReadCertFile(s.read(s.certs(certdir.CAName))).Certs
			for _, w := range pki.ReadCertFile(want).Certs {
				if !slices.ContainsFunc(got, w.Equal) {
					t.Errorf("cacert.pem, with %d certificates, lacks that of serial %x", len(got), w.SerialNumber)
				}
			}
			if got := s.read(s.certs(certdir.CRLName)); bytes.Count(got, []byte("BEGIN X509 CRL")) < bytes.Count(list,
				[]byte("BEGIN X509 CRL")) {
				t.Error("crl.pem has lost a CRL")
			}
			if err := s.verify(); err != nil {
				t.Error(err)
			}
		})
	}
}
