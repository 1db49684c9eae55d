package certdir

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// sized makes self-signed certificates whose files have the same size.
func sized(t testing.TB, cn string) []byte {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCertificate(der)
}

// A look reads a file once, whatever names lead to it, and the next look reads it again.
func TestReaderReadsOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.pem")
	if err := errors.Join(os.WriteFile(path, sized(t, "a"), 0o644),
		os.Symlink("b.pem", filepath.Join(dir, "link.pem"))); err != nil {
		t.Fatal(err)
	}
	opened := 0
	defer durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "open" {
			opened++
		}
		return nil
	})()
	var look Reader
	for _, name := range []string{"b.pem", "link.pem", "b.pem"} {
		if b := look.Bundle(filepath.Join(dir, name)); b.Err != nil || b.Certs[0].Subject.CommonName != "a" {
			t.Errorf("%s: %v", name, b.Err)
		}
	}
	if opened != 1 {
		t.Errorf("it was opened %d times", opened)
	}
	if b := look.Bundle(path + ".gone"); !errors.Is(b.Err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", b.Err)
	}
	if err := os.WriteFile(path, sized(t, "b"), 0o644); err != nil {
		t.Fatal(err)
	}
	var next Reader
	if b := next.Bundle(path); b.Certs[0].Subject.CommonName != "b" {
		t.Error("the next look returned the content of the previous one")
	}
}
