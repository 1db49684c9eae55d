package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The words in FILES that stand for a variable part of a name.
var filePatterns = strings.NewReplacer("HASH", "[0-9a-f]{8}", "DIGEST", "[0-9a-f]{32}", "SERIAL", "[0-9A-F]{2,}",
	"BACKUP", `\d{8}T\d{6}Z-\d{2,}`, ".rN", `\.r\d`, "gen-N", `gen-\d`, ".N", `\.\d`)

// elsewhere lists the entries of FILES that no verb makes below --root: they come with the port or from daemon(8), or
// exist only on a host that asks another one, or on a host whose cacert.pem is a link.
var elsewhere = []string{
	"/usr/local/etc/mailcertd.yaml.sample", "/usr/local/etc/rc.d/mailcertd",
	"/usr/local/etc/periodic/security/480.mailcertd",
	"/var/run/mailcertd.pid", "/var/run/mailcertd-supervisor.pid",
	"/var/db/mailcertd/candidates", "/var/db/mailcertd/acme", "/etc/mail/certs/trust/mailcertd-ca.pem",
}

// listedFile is one entry of FILES.
type listedFile struct {
	path, mode string
	expr       *regexp.Regexp
	seen       bool
}

func listedFiles(t *testing.T) []*listedFile {
	t.Helper()
	var out []*listedFile
	for _, heading := range items(t, "FILES", "Pa ") {
		path, mode, _ := strings.Cut(heading, " Pq ")
		out = append(out,
			&listedFile{path: path, mode: mode, expr: regexp.MustCompile("^" + filePatterns.Replace(path) + "$")})
	}
	return out
}

// fullLife makes a host on which every file of FILES has been used.
func fullLife(t *testing.T, root string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Other CA"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, other, other, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := "host: {name: mail.example.org}\nkey: {type: ecdsa-p256, second: rsa-2048}\nclient: {issuer: " +
		"local}\ncrl: {install: true}\ntrust: [/other.pem]\n"
	for name, data := range map[string][]byte{"other.pem": pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"usr/local/etc/mailcertd.yaml": []byte(config)} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"ensure", "ca rollover --now", "ca rollover --now", "renew",
		"ca enrol b.example.org --from 192.0.2.1", "ca rollover", "ensure", "request --rekey"} {
		if out, errs, status := typed(append([]string{"--root", root},
			strings.Fields(line)...)...); status != exitFine {
			t.Fatalf("%s: status %d\n%s%s", line, status, out, errs)
		}
	}
}

// Every file that the program makes is in FILES with its mode, and every file in FILES is made.
func TestManualHasEveryFile(t *testing.T) {
	root := t.TempDir()
	fullLife(t, root)
	list := listedFiles(t)
	// These are described in the entry of their directory.
	parts := regexp.MustCompile(`^/etc/mail/(CA/gen-\d|CA/next|certs/\.mailcertd)/|^/var/db/mailcertd/backups/[^/]+/`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		if err != nil || !strings.HasPrefix(name, "/etc/mail/") && !strings.HasPrefix(name, "/var/db/") &&
			!strings.HasPrefix(name, "/var/spool/") && name != "/usr/local/etc/mailcertd.yaml" {
			return err
		}
		if parts.MatchString(name) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fmt.Sprintf("%04o", info.Mode().Perm())
		if info.Mode()&fs.ModeSticky != 0 {
			mode = fmt.Sprintf("%04o", info.Mode().Perm()|0o1000)
		}
		known := false
		for _, l := range list {
			if !l.expr.MatchString(name) {
				continue
			}
			known, l.seen = true, true
			if l.mode != "" && l.mode != mode {
				t.Errorf("%s has mode %s, the manual says %s", name, mode, l.mode)
			}
			if l.mode == "" && info.Mode().IsRegular() && name != "/usr/local/etc/mailcertd.yaml" {
				t.Errorf("%s: the manual has no mode", name)
			}
		}
		if !known {
			t.Errorf("%s (%s) is not in the manual", name, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rest := map[string]bool{}
	for _, e := range elsewhere {
		rest[e] = true
	}
	for _, l := range list {
		if l.seen == rest[l.path] {
			t.Errorf("%s: seen %v; this test says that it is made elsewhere: %v", l.path, l.seen, rest[l.path])
		}
		delete(rest, l.path)
	}
	for path := range rest {
		t.Errorf("%s is not in the manual", path)
	}
	if script := readFile(t, "rc.d/mailcertd"); !strings.Contains(script, `"/var/run/mailcertd.pid"`) ||
		!strings.Contains(script, `"/var/run/mailcertd-supervisor.pid"`) {
		t.Error("rc.d/mailcertd has other pid files")
	}
}
