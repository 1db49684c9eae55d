package pki

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/openssltest"
)

// Every form in which public CAs and other programs deliver keys and certificates is recognised, and the command in the
// hint converts it to PEM.
func TestForms(t *testing.T) {
	openssltest.Need(t)
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
		command string // "openssl" says that the command is run and its output is read
	}{
		"a.p7b": {openssl(t, nil, "crl2pkcs7", "-nocrl", "-certfile", c), "PKCS#7 in PEM", "openssl"},
		"b.p7b": {openssl(t, nil, "crl2pkcs7", "-nocrl", "-certfile", c, "-outform", "DER"),
			"PKCS#7 in DER", "openssl"},
		"c.pfx": {openssl(t, nil, "pkcs12", "-export", "-inkey", k, "-in", c, "-passout", "pass:x"), "PKCS#12",
			"openssl pkcs12"},
		"d it.cer": {der(cert), "a certificate in DER", "openssl"},
		"e.key":    {der(key), "a private key in DER", "openssl"},
		"f.csr": {openssl(t, nil, "req", "-new", "-key", k, "-subj", "/CN=x", "-config", "/dev/null"),
			"a certificate request", "mailcertd sign"},
		"g.der": {openssl(t, nil, "req", "-new", "-key", k, "-subj", "/CN=x", "-config", "/dev/null", "-outform",
			"DER"), "a certificate request in DER", "mailcertd sign"},
		"h.pub": {openssl(t, key, "pkey", "-pubout"), "a public key", ""},
		"i.pub": {openssl(t, key, "pkey", "-pubout", "-outform", "DER"), "a public key in DER", ""},
		"j.key": {openssl(t, key, "pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER"),
			"an encrypted private key in DER", "openssl pkey"},
		"k": {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
			"a key of OpenSSH", "ssh-keygen"},
		"l.jks": {[]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02"), "a Java keystore (JKS)", "keytool"},
		"m.txt": {[]byte("\xff\xfe-\x00-\x00"), "text in UTF-16", "iconv"},
		"n.key": {openssl(t, nil, "genpkey", "-algorithm", "ED448", "-outform", "DER"),
			"a private key in DER", "openssl"},
		"o.pem": {openssl(t, cert, "x509", "-trustout"),
			"a certificate in OpenSSL's own format with trust settings (TRUSTED CERTIFICATE)", "openssl"},
		"p.txt": {[]byte(base64.StdEncoding.EncodeToString(der(cert))),
			"a certificate in base64 without BEGIN and END lines", "openssl"},
		"q.txt": {bytes.ReplaceAll(cert, []byte("\n"), []byte("\r")), "PEM with CR as its line end", "tr "},
		"r.txt": {bytes.ReplaceAll(append([]byte("> "), cert...), []byte("\n"), []byte("\n> ")),
			"PEM with other characters at the start of its lines", "sed "},
		"s.txt": {bytes.ReplaceAll(cert, []byte("CERTIFICATE"), []byte("NEW CERTIFICATE")),
			"a certificate with the label NEW CERTIFICATE", "sed "},
		"u.gz":      {[]byte("\x1f\x8b\x08\x00"), "compressed with gzip", "gzip"},
		"v.pvk":     {[]byte("\x1e\xf1\xb5\xb0"), "a private key in Microsoft's PVK form", "openssl rsa"},
		"hello.txt": {[]byte("hello\n"), "", ""},
		"empty":     {nil, "", ""},
	} {
		path := file(name, f.data)
		got := FormOf(f.data, path)
		if got.Name != f.is || !strings.Contains(got.Command, f.command) {
			t.Errorf("%s: %+v, want %s", name, got, f.is)
		}
		if f.command != "openssl" && f.command != "tr " && f.command != "sed " {
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

// The error for a file that cannot be used names its form and the command that converts it to PEM. It never contains
// any of the file's content.
func TestFormInError(t *testing.T) {
	openssltest.Need(t)
	key := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	cert := openssl(t, key, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config", "/dev/null")
	pkcs7 := openssl(t, cert, "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin")
	both := filepath.Join(t.TempDir(), "both")
	if err := os.WriteFile(both, append(bytes.Clone(key), cert...), 0o600); err != nil {
		t.Fatal(err)
	}
	pkcs12 := openssl(t, nil, "pkcs12", "-export", "-in", both, "-passout", "pass:x")
	locked := openssl(t, key, "pkey", "-aes256", "-passout", "pass:x")
	for _, c := range []struct {
		what string
		err  error
		is   error
		want string
		hint string // the beginning of the command for "/a b/host.cert"
	}{
		{"PKCS#7 as a certificate", ReadLeafFile(pkcs7).Err, ErrGarbage, "it is PKCS#7 in PEM",
			"openssl pkcs7 -print_certs -in '/a b/host.cert' -out '/a b/host.pem'"},
		{"PKCS#7 as CAs", ReadCertFile(pkcs7).Err, ErrGarbage, "it is PKCS#7 in PEM",
			"openssl pkcs7 -print_certs -in '/a b/host.cert' -out '/a b/host.pem'"},
		{"PKCS#12 as a certificate", ReadLeafFile(pkcs12).Err, ErrDER, "it is PKCS#12",
			"openssl pkcs12 -in '/a b/host.cert' -out '/a b/host.pem' -nodes"},
		{"PKCS#12 as a key", ReadKeyFile(pkcs12).Err, ErrDER, "it is PKCS#12",
			"openssl pkcs12 -in '/a b/host.cert' -out '/a b/host.pem' -nodes"},
		{"a key in DER", ReadKeyFile(openssl(t, key, "pkey", "-outform", "DER")).Err, ErrDER,
			"it is a private key in DER",
			"openssl pkey -inform der -in '/a b/host.cert' -out '/a b/host.pem'"},
		{"a certificate in DER", ReadCertFile(openssl(t, cert, "x509", "-outform", "DER")).Err, ErrDER,
			"it is a certificate in DER",
			"openssl x509 -inform der -in '/a b/host.cert' -out '/a b/host.pem'"},
		{"a key with a passphrase", ReadKeyFile(locked).Err, ErrEncrypted, "`openssl pkey -in FILE", ""},
		{"a certificate as a key", ReadKeyFile(cert).Err, ErrGarbage, "it is a certificate without a private key", ""},
		{"a key as a certificate", ReadLeafFile(key).Err, ErrGarbage, "it is a private key without a certificate", ""},
		{"a key in UTF-16", ReadKeyFile(append([]byte("-\x00"), bytes.Join(bytes.Split(key, nil), []byte{0})...)).Err,
			ErrGarbage, "it is text in UTF-16", "iconv -f UTF-16LE -t UTF-8 '/a b/host.cert' > '/a b/host.pem'"},
		{"a certificate in base64",
			ReadLeafFile([]byte(base64.StdEncoding.EncodeToString(openssl(t, cert, "x509", "-outform", "DER")))).Err,
			ErrGarbage, "in base64 without BEGIN and END lines",
			"openssl base64 -d -A -in '/a b/host.cert' -out '/a b/host.cert'.der && " +
				"openssl x509 -inform der -in '/a b/host.cert'.der -out '/a b/host.pem'"},
		{"text", ReadLeafFile([]byte("hello\n")).Err, ErrGarbage, ErrGarbage.Error(), ""},
	} {
		if c.err == nil || !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, c.err, c.want)
		}
		if got := ConversionOf(fmt.Errorf("x: %w", c.err), "/a b/host.cert"); got.Command != c.hint {
			t.Errorf("%s: %+v, want %s", c.what, got, c.hint)
		}
	}
}
