package pki

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every form in which sellers and other programs hand out keys and certificates
// is named, and the command that is given makes PEM of it.
func TestForms(t *testing.T) {
	needOpenssl(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	cert := openssl(t, key, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config", "/dev/null")
	k, c := file("key", key), file("cert", cert)
	der := func(b []byte) []byte { p, _ := pem.Decode(b); return p.Bytes }
	for name, f := range map[string]struct {
		data    []byte
		is      string
		command string // "openssl": it is run, and what comes out is read
	}{
		"a.p7b":     {openssl(t, nil, "crl2pkcs7", "-nocrl", "-certfile", c), "PKCS#7 in PEM", "openssl"},
		"b.p7b":     {openssl(t, nil, "crl2pkcs7", "-nocrl", "-certfile", c, "-outform", "DER"), "PKCS#7 in DER", "openssl"},
		"c.pfx":     {openssl(t, nil, "pkcs12", "-export", "-inkey", k, "-in", c, "-passout", "pass:x"), "PKCS#12", "openssl pkcs12"},
		"d it.cer":  {der(cert), "a certificate in DER", "openssl"},
		"e.key":     {der(key), "a private key in DER", "openssl"},
		"f.csr":     {openssl(t, nil, "req", "-new", "-key", k, "-subj", "/CN=x", "-config", "/dev/null"), "a certificate request", "mailcertd sign"},
		"g.der":     {openssl(t, nil, "req", "-new", "-key", k, "-subj", "/CN=x", "-config", "/dev/null", "-outform", "DER"), "a certificate request in DER", "mailcertd sign"},
		"h.pub":     {openssl(t, key, "pkey", "-pubout"), "a public key", ""},
		"i.pub":     {openssl(t, key, "pkey", "-pubout", "-outform", "DER"), "a public key in DER", ""},
		"j.key":     {openssl(t, key, "pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER"), "an encrypted private key in DER", "openssl pkey"},
		"k":         {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"), "a key of OpenSSH", "ssh-keygen"},
		"l.jks":     {[]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), "a Java keystore (JKS)", "keytool"},
		"m.txt":     {[]byte("\xff\xfe-\x00-\x00"), "text in UTF-16", "iconv"},
		"n.key":     {openssl(t, nil, "genpkey", "-algorithm", "ED448", "-outform", "DER"), "a private key in DER", "openssl"},
		"hello.txt": {[]byte("hello\n"), "", ""},
		"empty":     {nil, "", ""},
	} {
		path := file(name, f.data)
		got := FormOf(f.data, path)
		if got.Name != f.is || !strings.Contains(got.Command, f.command) {
			t.Errorf("%s: %+v, want %s", name, got, f.is)
		}
		if f.command != "openssl" {
			continue
		}
		if out, err := exec.Command("sh", "-c", got.Command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", got.Command, err, out)
		}
		made, err := os.ReadFile(strings.TrimSuffix(path, filepath.Ext(path)) + ".pem")
		if err != nil || ReadCertFile(made).Err != nil && ReadKeyFile(made).Keys == 0 {
			t.Errorf("%s made nothing: %v", got.Command, err)
		}
	}
}
