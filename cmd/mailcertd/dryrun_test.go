package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/durable"
)

// dryHost is a directory that --root names.
type dryHost struct {
	t    *testing.T
	root string
}

func newDryHost(t *testing.T, more string) dryHost {
	h := dryHost{t, t.TempDir()}
	h.write("usr/local/etc/mailcertd.yaml", "host: {name: mail.example.org}\nkey: {type: ecdsa-p256}\n"+more)
	return h
}

func (h dryHost) path(name string) string { return filepath.Join(h.root, name) }

func (h dryHost) write(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// run runs a command as a person does, and returns what it prints.
func (h dryHost) run(args ...string) (status int, said string) {
	var out bytes.Buffer
	status = newApp(strings.NewReader(""), &out, &out).execute(context.Background(),
		append([]string{"--root", h.root}, args...))
	return status, out.String()
}

// must runs a command that succeeds.
func (h dryHost) must(args ...string) {
	h.t.Helper()
	if status, said := h.run(args...); status != exitFine {
		h.t.Fatalf("%q: status %d: %s", args, status, said)
	}
}

// tree is a digest of all names, modes and contents.
func (h dryHost) tree() string {
	h.t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(h.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		fmt.Fprintln(sum, path, info.Mode())
		if info.Mode().IsRegular() {
			data, _ := os.ReadFile(path)
			sum.Write(data)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// selfSigned is a key of that many bits with its own certificate.
func selfSigned(t *testing.T, bits int) string {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	is := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, is, is, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// dryRows are commands that the real run refuses, or after which it reports that something stays undone.
var dryRows = []struct {
	what, more string
	before     func(h dryHost)
	run        []string
	says       string // what both runs say
}{
	{"ensure", "", func(h dryHost) { h.write("etc/mail/certs", "") }, []string{"ensure"}, "is not a directory"},
	{"renew", "", func(h dryHost) {
		h.must("ensure")
		if err := os.RemoveAll(h.path("etc/mail/CA")); err != nil {
			h.t.Fatal(err)
		}
	}, []string{"renew"}, "[ca-missing]"},
	{"install another key", "dane: {publish: manual}\n", func(h dryHost) {
		h.must("ensure")
		h.write("parcel.pem", selfSigned(h.t, 2048))
	}, []string{"install", "PARCEL"}, "there are TLSA records"},
	{"install what sendmail refuses", "", func(h dryHost) {
		h.must("ensure")
		h.write("parcel.pem", selfSigned(h.t, 512))
	}, []string{"install", "--force", "PARCEL"}, "sendmail would refuse the new set, so it was not installed"},
	{"restore another key", "dane: {publish: manual}\n", func(h dryHost) {
		h.must("ensure")
		h.run("renew", "--rekey", "--now")
	}, []string{"restore"}, "(to restore it anyway, use --force)"},
	{"restore nothing", "", func(h dryHost) { h.must("ensure") }, []string{"restore"},
		"there are no backups of a certificate"},
	{"purge beside a daemon", "", func(h dryHost) {
		h.must("ensure")
		lock, err := durable.TryLock(h.path("var/db/mailcertd"))
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(lock.Unlock)
	}, []string{"purge", "--yes"}, "stop the daemon first (service mailcertd stop)"},
	{"dhparam without a state", "", func(h dryHost) { h.write("var/db/mailcertd", "") },
		[]string{"dhparam", "--group", "ffdhe2048"}, "the choice of ffdhe2048 cannot be stored"},
	{"ca init over a CA", "", func(h dryHost) { h.must("ensure") }, []string{"ca", "init", "--encrypt"},
		"there is a CA already"},
	{"ca init without its passphrase", "ca: {passphrase_file: /etc/none}\n", func(h dryHost) {},
		[]string{"ca", "init", "--encrypt"}, "ca.passphrase_file: "},
	{"ca rollover without a CA", "", func(h dryHost) {}, []string{"ca", "rollover"},
		"there is no CA on this host"},
}

// --dry-run refuses what the real run refuses, in the same words, and changes nothing.
func TestDryRunRefuses(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range dryRows {
		h := newDryHost(t, r.more)
		r.before(h)
		args := strings.Split(strings.ReplaceAll(strings.Join(r.run, "\n"), "PARCEL", h.path("parcel.pem")), "\n")
		before := h.tree()
		dryStatus, dry := h.run(append(args, "--dry-run")...)
		if h.tree() != before {
			t.Errorf("%s: --dry-run changes something: %s", r.what, dry)
		}
		status, real := h.run(args...)
		if status == exitFine || status != dryStatus || !strings.Contains(real, r.says) ||
			!strings.Contains(dry, r.says) {
			t.Errorf("%s:\n--dry-run ends with %d: %s\nthe real run with %d: %s", r.what, dryStatus, dry, status, real)
		}
		seen[r.run[0]], seen[strings.Join(r.run[:min(2, len(r.run))], " ")] = true, true
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "mailcertd ")
		if c.Flags().Lookup("dry-run") != nil && !seen[name] {
			t.Errorf("no row has %q, which has --dry-run", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}).command())
}
