package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// dn builds the DER of a name from its attributes, in any string type. openssl cannot make it, because it uses only the
// types that its string mask allows.
func dn(t *testing.T, names ...[]attribute) []byte {
	t.Helper()
	var body []byte
	for _, rdn := range names {
		var set []byte
		for _, a := range rdn {
			der, err := asn1.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			set = append(set, der...)
		}
		der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: set})
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, der...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func attr(oid string, tag int, value string) attribute {
	return attribute{parseOID(oid), asn1.RawValue{Tag: tag, Bytes: []byte(value)}}
}

const (
	cn = "2.5.4.3"
	on = "2.5.4.10"
)

// The subject hash and the text of every kind of name are those of openssl.
func TestNamesAgainstOpenssl(t *testing.T) {
	// openssl does not read a CN that is a VisibleString, so there is none here.
	one := func(tag int, value string) []byte { return dn(t, []attribute{attr(cn, tag, value)}) }
	names := map[string][]byte{
		"printable":         one(asn1.TagPrintableString, "Two  Blanks"),
		"mixed case":        one(asn1.TagPrintableString, "MiXeD"),
		"UTF-8":             one(asn1.TagUTF8String, "ÄÖÜ  日本語 İ"),
		"BMP":               one(tagBMP, "\x00A\x00\xc4\x00 \x00 \x30\x42"),
		"T61":               one(asn1.TagT61String, "Gr\xfc\xdf  GOTT"),
		"IA5":               one(asn1.TagIA5String, "Who@Where.Example"),
		"universal":         one(tagUniversal, "\x00\x00\x00A\x00\x00\x00\xc4\x00\x01\xf6\x00"),
		"numeric":           one(asn1.TagNumericString, "1 2  3"),
		"every white space": one(asn1.TagUTF8String, "\t a\n\vb\f\rc \u00a0d\u2003e "),
		"only blanks":       one(asn1.TagUTF8String, "   "),
		"empty value":       one(asn1.TagUTF8String, ""),
		"controls":          one(asn1.TagIA5String, "a\x01\x7fb/=,+\\\""),
		"no name":           dn(t),
		"two values":        dn(t, []attribute{attr(on, asn1.TagUTF8String, "B"), attr(cn, asn1.TagUTF8String, "A")}),
		"two values, ordered": dn(t, []attribute{attr(cn, asn1.TagUTF8String, "A"),
			attr(on, asn1.TagUTF8String, "BB")}),
		"of other lengths": dn(t, []attribute{attr(cn, asn1.TagUTF8String, "Long Long"),
			attr(cn, asn1.TagUTF8String, "a")}),
		"repeated": dn(t, []attribute{attr(on, asn1.TagUTF8String, "x")},
			[]attribute{attr(on, asn1.TagUTF8String, "x")}),
		"long":         one(asn1.TagUTF8String, strings.Repeat("Long ", 100)),
		"unknown type": dn(t, []attribute{attr("1.3.6.1.4.1.99999.1", asn1.TagUTF8String, "x")}),
	}
	for n := 3; n <= 105; n++ { // the attributes of X.520
		names[fmt.Sprintf("2.5.4.%d", n)] = dn(t,
			[]attribute{attr(fmt.Sprintf("2.5.4.%d", n), asn1.TagPrintableString, "x")})
	}
	for _, oid := range []string{"1.2.840.113549.1.9.1", "1.2.840.113549.1.9.2", "1.2.840.113549.1.9.8",
		"0.9.2342.19200300.100.1.1", "0.9.2342.19200300.100.1.3", "0.9.2342.19200300.100.1.25",
		"1.3.6.1.4.1.311.60.2.1.1", "1.3.6.1.4.1.311.60.2.1.2", "1.3.6.1.4.1.311.60.2.1.3"} {
		names[oid] = dn(t, []attribute{attr(oid, asn1.TagIA5String, "x")})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, raw := range names {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: raw, NotBefore: time.Now(),
			NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), EncodeCertificate(der), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssltest.Need(t)
	cmd := exec.Command("sh", "-c",
		`for f in *; do echo "file=$f"; openssl x509 -noout -hash -subject -nameopt compat -in "$f" 2>&1; done; true`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, part := range bytes.Split(out, []byte("file="))[1:] {
		lines := strings.SplitN(strings.TrimRight(string(part), "\n"), "\n", 3)
		if len(lines) != 3 {
			t.Fatalf("%q", part)
		}
		seen++
		raw := names[lines[0]]
		if got := HashName(raw, 0); got != lines[1]+".0" {
			t.Errorf("%s: hash %s, openssl has %s", lines[0], got, lines[1])
		}
		// The program openssl adds "subject="; the rest comes from the library.
		if got := OneLine(raw); got != strings.TrimPrefix(lines[2], "subject=") {
			t.Errorf("%s: %q, openssl has %q", lines[0], got, lines[2])
		}
	}
	if seen != len(names) {
		t.Errorf("%d of %d names compared", seen, len(names))
	}
}

// Bytes that are not a name have no hash, and cause no panic.
func TestNoName(t *testing.T) {
	good := dn(t, []attribute{attr(cn, asn1.TagUTF8String, "x")})
	for _, raw := range [][]byte{nil, {}, {0x30}, []byte("hello"), good[:len(good)-1], append(bytes.Clone(good), 0),
		{0x31, 0}, {0x30, 2, 0x30, 0},
		dn(t, []attribute{attr(cn, tagBMP, "odd")}), dn(t, []attribute{attr(cn, tagUniversal, "six66")})} {
		if h, err := SubjectHash(raw); err == nil || h != 0 || HashName(raw, 0) != "" {
			t.Errorf("%x: hash %x, %v", raw, h, err)
		}
		_ = OneLine(raw)
	}
}

// A name that we make is the one that openssl makes from the same words.
func TestRawName(t *testing.T) {
	raw, err := RawName(Attribute{"C", "JP"}, Attribute{"O", "Höme"}, Attribute{"OU", ""},
		Attribute{"CN", "mail.example"}, Attribute{"emailAddress", "a@b.example"})
	if err != nil {
		t.Fatal(err)
	}
	out := openssl(t, nil, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
		"/dev/null", "-utf8", "-config", "/dev/null",
		"-subj", "/C=JP/O=Höme/CN=mail.example/emailAddress=a@b.example")
	f := ReadCertFile(out)
	if f.Err != nil || !bytes.Equal(f.Certs[0].RawSubject, raw) {
		t.Errorf("%x, %v", raw, f.Err)
	}
	if _, err := RawName(Attribute{"XX", "y"}); err == nil {
		t.Error("an unknown type was accepted")
	}
}
