package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// accepts says whether openssl reads a key from this file as sendmail would, which cannot ask for a passphrase.
func accepts(t testing.TB, data []byte) bool {
	t.Helper()
	cmd := exec.Command("openssl", "pkey", "-inform", "PEM", "-passin", "pass:", "-noout")
	cmd.Stdin = bytes.NewReader(data)
	return cmd.Run() == nil
}

// Every form in which openssl writes a key is read: the result is the type or the reason why it cannot be used. openssl
// also reads every file that we read, with the same public key.
func TestKeyAgainstOpenssl(t *testing.T) {
	gen := func(args ...string) []byte { return openssl(t, nil, append([]string{"genpkey"}, args...)...) }
	rsa := gen("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	ec := gen("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
	other := gen("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	sec1 := openssl(t, nil, "ecparam", "-name", "prime256v1", "-genkey")
	cert := openssl(t, ec, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config", "/dev/null")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	headless := func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }
	for name, c := range map[string]struct {
		data []byte
		kind KeyType
		keys int
		err  error
	}{
		"rsa":      {rsa, RSA2048, 1, nil},
		"rsa-1024": {gen("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "rsa-1024", 1, nil},
		"p384":     {ec, ECDSAP384, 1, nil},
		"p521": {gen("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
			"ecdsa-p521", 1, nil},
		"ed25519":            {gen("-algorithm", "ED25519"), "ed25519", 1, nil},
		"rsa, PKCS#1":        {openssl(t, rsa, "rsa", "-traditional"), RSA2048, 1, nil},
		"ec, SEC1":           {openssl(t, ec, "ec"), ECDSAP384, 1, nil},
		"ec with parameters": {sec1, ECDSAP256, 1, nil},
		"ed448":              {gen("-algorithm", "ED448"), "", 1, ErrUnsupported},
		"x25519":             {gen("-algorithm", "X25519"), "", 1, ErrGarbage},
		"secp256k1": {gen("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "", 1,
			ErrUnsupported},
		"explicit curve": {gen("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt",
			"ec_param_enc:explicit"), "", 1, ErrUnsupported},
		"encrypted, scrypt": {openssl(t, ec, "pkcs8", "-topk8", "-scrypt", "-passout", "pass:x"), "", 1,
			ErrEncrypted},
		"encrypted, old": {openssl(t, ec, "ec", "-aes256", "-passout", "pass:x"), "", 1, ErrEncrypted},
		"two":            {join(ec, other), ECDSAP384, 2, nil},
		"an encrypted one after it": {join(ec, openssl(t, rsa, "pkey", "-aes256", "-passout", "pass:x")),
			ECDSAP384, 2, nil},
		"an encrypted one before it": {join(openssl(t, rsa, "pkey", "-aes256", "-passout", "pass:x"), ec), "", 2,
			ErrEncrypted},
		"certificate first": {join(cert, ec), ECDSAP384, 1, nil},
		"text around": {join([]byte("Bag Attributes\n    friendlyName: x\n\n"), ec, []byte("the end\n")),
			ECDSAP384, 1, nil},
		"text with -text": {openssl(t, ec, "pkey", "-text"), ECDSAP384, 1, nil},
		"no last newline": {bytes.TrimRight(ec, "\n"), ECDSAP384, 1, nil},
		"blank lines":     {join([]byte("\r\n\n"), ec, []byte("\n\n")), ECDSAP384, 1, nil},
		"CRLF":            {bytes.ReplaceAll(ec, []byte("\n"), []byte("\r\n")), ECDSAP384, 1, nil},
		"DER":             {openssl(t, ec, "pkey", "-outform", "DER"), "", 0, ErrDER},
		"no first line":   {headless(ec), "", 0, ErrGarbage},
		"only blanks":     {[]byte(" \n\t\n"), "", 0, ErrEmpty},
		"a public key":    {openssl(t, ec, "pkey", "-pubout"), "", 0, ErrGarbage},
		"a request": {openssl(t, ec, "req", "-new", "-key", "/dev/stdin", "-subj", "/CN=x", "-config",
			"/dev/null"), "", 0, ErrGarbage},
		"truncated":          {ec[:len(ec)-20], "", 0, ErrTruncated},
		"a hole":             {append(bytes.Clone(ec[:60]), ec[90:]...), "", -1, ErrTruncated},
		"PKCS#8 body as RSA": {bytes.ReplaceAll(ec, []byte(" PRIVATE"), []byte(" RSA PRIVATE")), "", 1, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := ReadKeyFile(c.data)
			if !errors.Is(k.Err, c.err) || k.Type != c.kind || c.keys >= 0 && k.Keys != c.keys ||
				(k.Public == nil) != (c.err != nil) {
				t.Errorf("%+v", k)
			}
			if k.Err != nil {
				return
			}
			if !accepts(t, c.data) {
				t.Error("we read it, openssl does not")
				return
			}
			want, err := x509.ParsePKIXPublicKey(openssl(t, c.data, "pkey", "-inform", "PEM", "-pubout",
				"-outform", "DER"))
			if err != nil || !SamePublicKey(want, k.Public) {
				t.Errorf("openssl has another key: %v", err)
			}
			if s := StripCertificates(c.data); !accepts(t, s) {
				t.Errorf("after StripCertificates openssl reads no key from it:\n%s", s)
			}
		})
	}
}

// A key file that is cut off anywhere never gives a key. Its error is a known one and contains nothing of the content.
func TestKeyCutAnywhere(t *testing.T) {
	whole := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	lines := strings.Split(string(whole), "\n")
	for i := range len(whole) - len("-\n") {
		k := ReadKeyFile(whole[:i])
		if k.Err == nil || k.Public != nil {
			t.Fatalf("%d of %d bytes are a key", i, len(whole))
		}
		if !errors.Is(k.Err, ErrTruncated) && !errors.Is(k.Err, ErrEmpty) &&
			(i > len(lines[0]) || !errors.Is(k.Err, ErrGarbage)) {
			t.Errorf("%d bytes: %v", i, k.Err)
		}
		if strings.Contains(k.Err.Error(), lines[1][:16]) {
			t.Fatalf("%d bytes: the error quotes the key", i)
		}
	}
}

// The part of a key file that is kept is kept byte for byte.
func TestStripKeepsBytes(t *testing.T) {
	pkcs8 := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	sec1 := openssl(t, nil, "ecparam", "-name", "prime256v1", "-genkey") // EC PARAMETERS and the key
	locked := openssl(t, pkcs8, "ec", "-aes256", "-passout", "pass:x")   // with headers
	cert := openssl(t, pkcs8, "req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=x", "-config", "/dev/null")
	crlf := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }
	for name, c := range map[string]struct{ data, want []byte }{
		"nothing to strip": {pkcs8, pkcs8},
		"before":           {append(bytes.Clone(cert), pkcs8...), pkcs8},
		"behind":           {append(bytes.Clone(pkcs8), cert...), pkcs8},
		"both":             {bytes.Join([][]byte{cert, sec1, cert, cert}, nil), sec1},
		"between keys":     {bytes.Join([][]byte{pkcs8, cert, sec1}, nil), append(bytes.Clone(pkcs8), sec1...)},
		"headers":          {append(bytes.Clone(cert), locked...), locked},
		"text":             {[]byte("hello\n" + string(pkcs8) + "bye\n" + string(cert)), pkcs8},
		"CRLF": {crlf(append(bytes.Clone(pkcs8), cert...)),
			append(bytes.TrimRight(crlf(pkcs8), "\r\n"), '\n')},
		"no key": {cert, nil},
		"empty":  {nil, nil},
	} {
		if got := StripCertificates(c.data); !bytes.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", name, got, c.want)
		}
		if once := StripCertificates(c.data); !bytes.Equal(StripCertificates(once), once) {
			t.Errorf("%s: stripping it twice changes it again", name)
		}
	}
}
