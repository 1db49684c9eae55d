package ca

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// If something that is not a regular file is where openssl ca reads a file, it is reported, once.
func TestInTheWay(t *testing.T) {
	makes := map[string]func(path string) error{
		"a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"a dangling link": func(path string) error { return os.Symlink("nowhere", path) },
	}
	for _, name := range []string{confName, attrName, serialName, crlNumName, indexName, certName, keyName,
		NewCertsDir, nextName} {
		for what, make := range makes {
			if what == "a directory" && (name == NewCertsDir || name == nextName) {
				what, make = "a file", func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }
			}
			dir := t.TempDir() + "/CA"
			o := Options{Dir: dir, Key: pki.ECDSAP256, Days: 3650, Host: "mail.example.org"}
			if _, err := Init(t.Context(), &durable.Disk{}, o, rand.Reader, time.Now()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			obs, told := Observe(dir, Filter{}), 0
			for _, f := range obs.Faults {
				if f.Path == path {
					told++
				}
			}
			if obs.Err != nil && strings.Contains(obs.Err.Error(), name) {
				told++
			}
			if told != 1 {
				t.Errorf("%s as %s: reported %d times: %+v, %v", name, what, told, obs.Faults, obs.Err)
			}
		}
	}
}
