package certdir

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/pki"
)

// OpenSSL refuses one certificate of a bundle. Each of the others gets a file of its own, and the refused one is
// counted as skipped.
func TestBundleWithRefused(t *testing.T) {
	good := sized(t, "A CA")
	der := pki.ReadCertFile(good).Certs[0].Raw
	bad := bytes.Clone(der)
	at := bytes.Index(bad, []byte{0x55, 0x04, 0x03}) // the value of the common name has a type that names do not have
	bad[at+3] = 4
	dir := t.TempDir()
	path := filepath.Join(dir, "bundle.pem")
	if err := os.WriteFile(path, append(pki.EncodeCertificate(bad), good...), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dir} {
		var c Reader
		if b := c.Bundle(p); b.Err != nil || len(b.Certs) != 1 || b.Passed != 1 {
			t.Errorf("%s: %d certificates, %d skipped, %v", p, len(b.Certs), b.Passed, b.Err)
		}
	}
}
