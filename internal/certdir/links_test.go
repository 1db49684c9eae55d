package certdir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// leaves has one certificate of each CA.
var leaves = map[*x509.Certificate][]byte{}

func caCert(t *testing.T, cn string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ = x509.ParseCertificate(der)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	if leaves[c], err = x509.CreateCertificate(rand.Reader, leaf, c, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return c
}

// bundle is a PEM file.
func bundle(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pki.EncodeCertificate(c.Raw))
	}
	return b.String()
}

// Each case starts with some names in the directory and ends with these links:
// name=target. H is the hash of our CA, F that of a foreign one.
func TestLinks(t *testing.T) {
	ours, foreign := caCert(t, "Ours"), caCert(t, "Foreign")
	h, f := pki.HashName(ours.RawSubject, 0)[:8], pki.HashName(foreign.RawSubject, 0)[:8]
	twin := caCert(t, "Ours") // another key, the same name: the next generation
	for _, c := range []struct {
		name string
		have string // name=target for links, name:file for files
		ca   string // cacert.pem
		want string
	}{
		{"missing", "", bundle(ours), "H.0=cacert.pem"},
		{"right", "H.0=cacert.pem", bundle(ours), "H.0=cacert.pem"},
		{"dangling", "H.0=nowhere", bundle(ours), "H.0=cacert.pem"},
		{"stale, ours", "00000001.0=cacert.pem H.0=cacert.pem", bundle(ours), "H.0=cacert.pem"},
		{"stale, dangling", "00000001.0=gone H.0=cacert.pem", bundle(ours), "H.0=cacert.pem"},
		{"collision with somebody's right link", "H.0=../other.pem", bundle(ours), "H.0=../other.pem H.1=cacert.pem"},
		{"gap", "H.1=cacert.pem", bundle(ours), "H.0=cacert.pem"},
		{"gap before somebody's", "H.1=../other.pem", bundle(ours), "H.0=cacert.pem H.1=../other.pem"},
		{"somebody's right link stays", "F.0=../foreign.pem", bundle(ours), "F.0=../foreign.pem H.0=cacert.pem"},
		{"two in one file", "", bundle(ours, foreign), "F.0=cacert.pem H.0=cacert.pem"},
		{"two generations in one file", "", bundle(ours, twin), "H.0=cacert.pem"},
		{"twice", "H.0=cacert.pem H.1=cacert.pem", bundle(ours), "H.0=cacert.pem"},
		{"a file that cannot be loaded", "H.0:garbage", bundle(ours), "H.0=cacert.pem"},
		{"somebody's file", "F.0:foreign", bundle(ours), "H.0=cacert.pem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "certs")
			expand := func(s string) string {
				return strings.NewReplacer("H.", h+".", "F.", f+".").Replace(s)
			}
			files := map[string]string{"../other.pem": bundle(twin), "../foreign.pem": bundle(foreign),
				"cacert.pem": c.ca}
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for x := range strings.FieldsSeq(expand(c.have)) {
				if n, text, ok := strings.Cut(x, ":"); ok {
					files[n] = map[string]string{"garbage": "hello", "foreign": bundle(foreign)}[text]
				} else if n, target, _ := strings.Cut(x, "="); os.Symlink(target, filepath.Join(dir, n)) != nil {
					t.Fatal(x)
				}
			}
			for n, text := range files {
				if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			plan := func() []LinkChange {
				d := Observe(dir)
				return Links(d.Links, map[string][]*x509.Certificate{CAName: d.CA.File.Certs})
			}
			for _, ch := range plan() {
				p := filepath.Join(dir, ch.Name)
				_ = os.Remove(p)
				if ch.Target != "" {
					if err := os.Symlink(ch.Target, p); err != nil {
						t.Fatal(err)
					}
				}
			}
			if again := plan(); len(again) > 0 {
				t.Errorf("not done: %+v", again)
			}
			var got []string
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
					got = append(got, e.Name()+"="+target)
				}
			}
			want := strings.Fields(expand(c.want))
			sort.Strings(want)
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got %v, want %v", got, want)
			}
			verify(t, dir, ours)
		})
	}
}

// verify asks openssl to find the CA by its hash link alone.
func verify(t *testing.T, dir string, c *x509.Certificate) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		return
	}
	leaf := filepath.Join(t.TempDir(), "c.pem")
	if err := os.WriteFile(leaf, pki.EncodeCertificate(leaves[c]), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-CApath", dir,
		leaf).CombinedOutput(); err != nil {
		t.Errorf("openssl verify: %v\n%s", err, out)
	}
}

// No entry of the directory makes Observe fail or hang.
func TestObserve(t *testing.T) {
	dir := t.TempDir()
	for n, text := range map[string]string{"host.key": "hello", "1234abcd.0": "x", "1234ABCD.0": "not a hash link",
		"extra": ""} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Mkdir(filepath.Join(dir, "host.cert"), 0o755)
	_ = os.Symlink("/dev/zero", filepath.Join(dir, "cacert.pem"))
	_ = os.Symlink(dir, filepath.Join(dir, "1234abcd.1"))
	d := Observe(dir)
	if d.Err != nil || len(d.Links) != 2 || d.Cert.File.Err == nil || d.CA.File.Err == nil || d.Key.Key.Err == nil ||
		strings.Join(d.Extra, " ") != "1234ABCD.0 extra" {
		t.Errorf("%+v", d)
	}
	if d := Observe(filepath.Join(dir, "none")); d.Err != nil || d.Node.Exists || len(d.Parents) < 2 {
		t.Errorf("%+v", d)
	}
}

// A link that could not be examined may be the one that is wanted: no second one is made, and no link of the same hash
// is moved.
func TestUnknownLinkIsNotDoubled(t *testing.T) {
	dir := t.TempDir()
	c := caCert(t, "A")
	if err := os.WriteFile(filepath.Join(dir, CAName), pki.EncodeCertificate(c.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%08x.0", subjectHashes([]*x509.Certificate{c})[0])
	if err := os.Symlink(CAName, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"lstat", "readlink", "stat", "resolve"} {
		undo := durable.TestOnlyBeforeRead(func(o, path string) error {
			if o == op && filepath.Base(path) == name {
				return syscall.EIO
			}
			return nil
		})
		got := Links(Observe(dir).Links, map[string][]*x509.Certificate{CAName: {c}})
		undo()
		if len(got) > 0 {
			t.Errorf("%s: %+v", op, got)
		}
	}
}
