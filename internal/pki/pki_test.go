package pki

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/openssltest"
)

func openssl(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	openssltest.Need(t)
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out
}

// openssl reads the keys that we make, and we read those that openssl makes.
func TestKeys(t *testing.T) {
	for _, kt := range KeyTypes() {
		key, err := GenerateKey(kt, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		data, err := MarshalKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if out := openssl(t, data, "pkey", "-check", "-noout"); !strings.Contains(string(out), "valid") {
			t.Errorf("%s: %s", kt, out)
		}
		if k := ReadKeyFile(data); k.Err != nil || k.Type != kt || !SamePublicKey(k.Public, key.Public()) ||
			k.Form != "PKCS#8" {
			t.Errorf("%s: %+v", kt, k)
		}
		pub := openssl(t, data, "pkey", "-pubout", "-outform", "DER")
		if sum := openssl(t, pub, "dgst", "-sha256", "-binary"); !bytes.Equal(sum, arr(SPKIDigest(key.Public()))) {
			t.Errorf("%s: the digest of the public key differs", kt)
		}
	}
}

func arr(a [32]byte) []byte { return a[:] }

// Every usual form of a key file, with what is wrong with it.
func TestKeyForms(t *testing.T) {
	pkcs8 := openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	pkcs1 := openssl(t, pkcs8, "rsa", "-traditional")
	sec1 := openssl(t, nil, "ecparam", "-name", "prime256v1", "-genkey")
	cert := openssl(t, pkcs8, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config", "/dev/null")
	der := openssl(t, pkcs8, "pkey", "-outform", "DER")
	for name, c := range map[string]struct {
		data []byte
		form string
		err  error
		cert int
	}{
		"PKCS#8": {pkcs8, "PKCS#8", nil, 0}, "PKCS#1": {pkcs1, "PKCS#1", nil, 0}, "SEC1": {sec1, "SEC1", nil, 0},
		"CRLF":               {bytes.ReplaceAll(pkcs8, []byte("\n"), []byte("\r\n")), "PKCS#8", nil, 0},
		"certificate first":  {append(bytes.Clone(cert), pkcs8...), "PKCS#8", nil, 1},
		"certificate behind": {append(bytes.Clone(pkcs1), cert...), "PKCS#1", nil, 1},
		"encrypted":          {openssl(t, pkcs8, "pkey", "-aes256", "-passout", "pass:x"), "", ErrEncrypted, 0},
		"encrypted, PKCS#1": {openssl(t, pkcs8, "rsa", "-traditional", "-aes128", "-passout", "pass:x"), "",
			ErrEncrypted, 0},
		"DER":                 {der, "", ErrDER, 0},
		"empty":               {nil, "", ErrEmpty, 0},
		"truncated":           {pkcs8[:len(pkcs8)/2], "", ErrTruncated, 0},
		"garbage":             {[]byte("hello"), "", ErrGarbage, 0},
		"a certificate alone": {cert, "", ErrGarbage, 1},
	} {
		k := ReadKeyFile(c.data)
		if !errors.Is(k.Err, c.err) || k.Err == nil && (k.Form != c.form || k.Public == nil) || k.Certs != c.cert ||
			k.Encrypted != (c.err == ErrEncrypted) {
			t.Errorf("%s: %+v", name, k)
		}
		if c.err == nil && c.cert > 0 {
			s := StripCertificates(c.data)
			if bytes.Contains(s, []byte("CERTIFICATE")) || !SamePublicKey(ReadKeyFile(s).Public, k.Public) {
				t.Errorf("%s: stripped:\n%s", name, s)
			}
		}
	}
}

// The subject hash of every CA of the system is that of openssl, and so is the hash of names in every string type.
func TestSubjectHash(t *testing.T) {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	data, err := os.ReadFile(bundle)
	if err != nil {
		t.Skipf("the system has no %s", bundle)
	}
	for _, subj := range []string{"/C=JP/O=  Two   Blanks /CN=MiXed CaSe", "/O=Ünïcödé/CN=日本語",
		"/CN=x/emailAddress=A@B.example", "/O=a+OU=b/CN=c", "/CN=tab\tx"} {
		for _, mask := range []string{"utf8only", "default", "nombstr"} {
			conf := filepath.Join(t.TempDir(), "conf")
			if err := os.WriteFile(conf, []byte("[req]\ndistinguished_name=dn\nstring_mask="+mask+"\n[dn]\n"),
				0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
				"-nodes", "-keyout", "/dev/null", "-utf8", "-multivalue-rdn", "-subj", subj, "-config", conf)
			if out, err := cmd.Output(); err == nil { // not every name can be made with every string mask
				data = append(data, out...)
			}
		}
	}
	f := ReadCertFile(data)
	if f.Err != nil || len(f.Certs) < 100 {
		t.Fatalf("%d certificates, %v", len(f.Certs), f.Err)
	}
	// One shell runs openssl -hash for all of them.
	dir := t.TempDir()
	for i, c := range f.Certs {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d", i)), EncodeCertificate(c.Raw),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("sh", "-c", "cd "+dir+" && for f in *; do openssl x509 -noout -hash -in $f; done").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(out))
	for i, c := range f.Certs {
		h, err := SubjectHash(c.RawSubject)
		if got := fmt.Sprintf("%08x", h); err != nil || got != want[i] || HashName(c.RawSubject, 3) != got+".3" {
			t.Errorf("%s: %s, openssl says %s (%v)", OneLine(c.RawSubject), got, want[i], err)
		}
	}
}

// The input is a key and a certificate of unknown origin. If they can be used they have a public key, and are the same
// after writing and reading them.
func FuzzPair(f *testing.F) {
	key, _ := GenerateKey(ECDSAP256, rand.Reader)
	data, _ := MarshalKey(key)
	f.Add(data, data)
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
		[]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, k, c []byte) {
		kf, cf := ReadKeyFile(k), ReadCertFile(c)
		if kf.Err == nil {
			signer, err := ParseKey(k)
			if err != nil || kf.Public == nil || !SamePublicKey(signer.Public(), kf.Public) {
				t.Fatalf("usable, and there is an error: %v", err)
			}
			if s := ReadKeyFile(StripCertificates(k)); s.Err != nil || !SamePublicKey(s.Public, kf.Public) {
				t.Fatalf("stripped: %v", s.Err)
			}
		}
		if cf.Err == nil && len(cf.Certs) == 0 {
			t.Fatal("no error and no certificate")
		}
		for _, x := range cf.Certs {
			back := ReadCertFile(EncodeCertificate(x.Raw))
			if back.Err != nil || !bytes.Equal(back.Certs[0].Raw, x.Raw) {
				t.Fatalf("after writing and reading it: %v", back.Err)
			}
			_, _ = SubjectHash(x.RawSubject)
			_ = OneLine(x.RawSubject)
			if SamePublicKey(x.PublicKey, kf.Public) != SamePublicKey(kf.Public, x.PublicKey) {
				t.Fatal("not symmetric")
			}
		}
	})
}
