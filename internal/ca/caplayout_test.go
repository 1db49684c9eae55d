package ca

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In the layout of CA.pl and of the stock openssl.cnf the key is in private/. The problem says so, with the command
// after which the CA is adopted, and does not call it a backup.
func TestKeyInPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "CA")
	for _, d := range []string{"private", "newcerts"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"cacert.pem": "-----BEGIN CERTIFICATE-----\n", "private/cakey.pem": "x",
		"index.txt": "", "serial": "01\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	for _, f := range Observe(dir, Filter{}).Faults {
		said.WriteString(string(f.Kind) + " " + f.Hint + "\n")
	}
	key := filepath.Join(dir, "private/cakey.pem")
	if !strings.Contains(said.String(), "install -m 0600 "+key+" "+filepath.Join(dir, "cakey.pem")) ||
		strings.Contains(said.String(), "backup") {
		t.Error(said.String())
	}
}
