package pki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The issuer of a CRL is found whatever the strength of its digest. We accept what openssl accepts, and refuse what it
// refuses.
func TestListSignedBy(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	conf := "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\n"
	for name, text := range map[string]string{"c": conf, "index.txt": "", "crlnumber": "01\n"} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, usage := range map[string]string{"plain": "", "crl": "keyUsage=keyCertSign,cRLSign",
		"nocrl": "keyUsage=keyCertSign", "other": ""} {
		args := []string{"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Lists", "-days", "9", "-keyout",
			at(name + ".key"), "-out", at(name + ".pem")}
		if usage != "" {
			args = append(args, "-addext", usage)
		}
		run(args...)
	}
	for _, c := range []struct {
		ca, by, md string
		want       bool
	}{
		{"plain", "plain", "sha256", true}, {"plain", "plain", "sha1", true}, {"crl", "crl", "sha1", true},
		{"crl", "crl", "md5", true},
		{"plain", "other", "sha256", false}, {"plain", "other", "sha1", false}, {"nocrl", "nocrl", "sha256", false},
	} {
		run("ca", "-config", at("c"), "-gencrl", "-cert", at(c.by+".pem"), "-keyfile", at(c.by+".key"), "-md", c.md,
			"-crldays", "9", "-out", at("l.pem"))
		block := func(n string) []byte {
			b, _ := os.ReadFile(at(n))
			p, _ := pem.Decode(b)
			return p.Bytes
		}
		l, err := x509.ParseRevocationList(block("l.pem"))
		issuer, err2 := x509.ParseCertificate(block(c.ca + ".pem"))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if got := ListSignedBy(l, issuer); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if c.ca == "nocrl" {
			continue // openssl-crl(1) checks only the signature; X509_verify_cert(3) refuses this CRL
		}
		if out, _ := exec.Command("openssl", "crl", "-in", at("l.pem"), "-CAfile", at(c.ca+".pem"),
			"-noout").CombinedOutput(); strings.Contains(string(out), "verify OK") != c.want {
			t.Errorf("%+v: openssl says %s", c, out)
		}
	}
}
