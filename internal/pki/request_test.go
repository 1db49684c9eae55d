package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
)

// asker makes requests that no program would make: the test chooses the DER of every part, and the signature is correct
// nevertheless.
type asker struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	spki []byte
}

func newAsker(t testing.TB) asker {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := asker{t: t, key: key}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	a.spki = a.key1(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
		asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, point)
	return a
}

func (a asker) der(v any) []byte {
	a.t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a asker) raw(class, tag int, parts ...[]byte) []byte {
	return a.der(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: bytes.Join(parts, nil)})
}

func (a asker) seq(parts ...[]byte) []byte { return a.raw(0, asn1.TagSequence, parts...) }
func (a asker) set(parts ...[]byte) []byte { return a.raw(0, asn1.TagSet, parts...) }

// key1 returns a SubjectPublicKeyInfo.
func (a asker) key1(oid asn1.ObjectIdentifier, parameters any, bits []byte) []byte {
	return a.seq(a.seq(a.der(oid), a.der(parameters)), a.der(asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}))
}

func (a asker) rsa(n, e *big.Int) []byte {
	return a.key1(oidRSA, asn1.NullRawValue, a.der(struct{ N, E *big.Int }{n, e}))
}

func (a asker) cn(values ...string) []byte {
	var parts [][]byte
	for _, v := range values {
		parts = append(parts,
			a.set(a.seq(a.der(oidCommonName), a.der(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(v)}))))
	}
	return a.seq(parts...)
}

// pem returns a request with the identifier of this signature algorithm. Whatever algorithm that is, it is signed with
// ECDSA and SHA-256.
func (a asker) pem(algorithm asn1.ObjectIdentifier, spki, subject []byte, attributes ...[]byte) []byte {
	info := a.seq(a.der(0), subject, spki, a.raw(asn1.ClassContextSpecific, 0, attributes...))
	sum := sha256.Sum256(info)
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	der := a.seq(info, a.seq(a.der(algorithm)), a.der(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

var ecdsaSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}

func (a asker) request(subject []byte, attributes ...[]byte) []byte {
	return a.pem(ecdsaSHA256, a.spki, subject, attributes...)
}

// asks returns the attribute with a list of extensions.
func (a asker) asks(e ...pkix.Extension) []byte {
	return a.seq(a.der(oidExtensionRequest), a.set(a.der(e)))
}

func (a asker) san(names ...[]byte) []byte {
	return a.request(a.cn(), a.asks(pkix.Extension{Id: oidAltName, Value: a.seq(names...)}))
}

func (a asker) dns(name string) []byte {
	return a.der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(name)})
}

func (a asker) ip(octets ...byte) []byte {
	return a.der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 7, Bytes: octets})
}

func (a asker) other(tag int) []byte {
	return a.der(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte("x@y.example")})
}

func (a asker) many(prefix string, n int) (out [][]byte) {
	for i := range n {
		out = append(out, a.dns(fmt.Sprintf("%s%d.example", prefix, i)))
	}
	return out
}

// Each refusal has its own text.
func TestRefusals(t *testing.T) {
	a := newAsker(t)
	good := a.request(a.cn("host.example"))
	block, _ := pem.Decode(good)
	as := func(label string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}) }
	of := func(der []byte) []byte { return as("CERTIFICATE REQUEST", der) }
	sum := bytes.Clone(block.Bytes)
	sum[len(sum)-1] ^= 1
	bits := func(n uint) *big.Int { return new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), n-1), 0, 1) }
	f4 := big.NewInt(65537)
	rsaKey := func(n, e *big.Int) []byte { return a.pem(ecdsaSHA256, a.rsa(n, e), a.cn("host.example")) }
	ec := func(parameters any, point []byte) []byte {
		return a.pem(ecdsaSHA256, a.key1(oidEC, parameters, point), a.cn("host.example"))
	}
	p256 := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	ext := func(oid asn1.ObjectIdentifier, value []byte) []byte {
		return a.request(a.cn("host.example"), a.asks(pkix.Extension{Id: oid, Value: value}))
	}
	cn := func(name string) []byte { return a.request(a.cn(name)) }
	dns := func(name string) []byte { return a.san(a.dns(name)) }
	long := strings.Repeat("l23456789.", 26)[:254]
	hostile := strings.Repeat("\x1b[31m\"", 1000)
	usage := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 7, 128}}

	// These rows reach the refusal of another row in another way.
	again := []string{"RSA's signature", "half a boolean", "behind the SAN", "empty SAN", "CN and 100 names"}
	texts := map[string]string{}
	for name, c := range map[string]struct {
		data []byte
		text string
	}{
		"nothing": {nil, `has 0 PEM blocks, must have one CERTIFICATE REQUEST`},
		"two":     {append(bytes.Clone(good), good...), `has 2 PEM blocks, must have one CERTIFICATE REQUEST`},
		"others behind": {slices.Concat(good, as("CERTIFICATE", []byte{1}), as("X", nil)),
			`has 3 PEM blocks, must have one CERTIFICATE REQUEST`},
		"large":         {bytes.Repeat([]byte("x"), 64<<10+1), `has 65537 octets, may have at most 65536`},
		"another block": {as("CERTIFICATE", block.Bytes), `has a PEM block "CERTIFICATE", must be CERTIFICATE REQUEST`},
		"half": {good[:len(good)/2],
			`has a PEM block that is broken or has no end, must have one CERTIFICATE REQUEST`},
		"headers": {bytes.Replace(good, []byte("ST-----\n"), []byte("ST-----\nA: b\n\n"), 1),
			`has 1 PEM headers, may have none`},
		"octets after": {of(append(bytes.Clone(block.Bytes), 0, 0)), `has 2 octets after its end, may have none`},
		"no structure": {of([]byte{0x30, 0}), `is not a CertificationRequest of PKCS#10`},
		"own key not":  {of(sum), `is not signed with its own key: …`},
		"SHA-224": {a.pem(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 1}, a.spki, a.cn("a")),
			`is signed with 1.2.840.10045.4.3.1, must be SHA-256, SHA-384, SHA-512 or Ed25519`},
		"ECDSA, SHA-1": {a.pem(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, a.spki, a.cn("a")),
			`is signed with ECDSA-SHA1, must be SHA-256, SHA-384, SHA-512 or Ed25519`},
		"RSA's signature": {a.pem(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, a.spki, a.cn("a")),
			`is not signed with its own key: …`},

		"rsa-1024": {rsaKey(bits(1024), f4), `has an RSA key of 1024 bits, must be 2048 to 8192`},
		"rsa-2047": {rsaKey(bits(2047), f4), `has an RSA key of 2047 bits, must be 2048 to 8192`},
		"rsa-8193": {rsaKey(bits(8193), f4), `has an RSA key of 8193 bits, must be 2048 to 8192`},
		"negative": {rsaKey(new(big.Int).Neg(bits(2048)), f4), `has an RSA key of -2048 bits, must be 2048 to 8192`},
		"exponent 1": {rsaKey(bits(2048), big.NewInt(1)),
			`has an RSA key with exponent 1, must be an odd one from 3 to 2147483647`},
		"even exponent": {rsaKey(bits(2048), big.NewInt(65536)),
			`has an RSA key with exponent 65536, must be an odd one from 3 to 2147483647`},
		"large exponent": {rsaKey(bits(2048), big.NewInt(1<<31+1)),
			`has an RSA key with exponent 2147483649, must be an odd one from 3 to 2147483647`},
		"no RSA key": {a.pem(ecdsaSHA256, a.key1(oidRSA, asn1.NullRawValue, []byte{4, 0}), a.cn("a")),
			`has an RSA key that cannot be parsed, must be a modulus and an exponent`},
		"P-224": {ec(asn1.ObjectIdentifier{1, 3, 132, 0, 33}, nil),
			`has an EC key on curve 1.3.132.0.33, must be P-256, P-384 or P-521`},
		"no curve": {ec(asn1.NullRawValue, nil), `has an EC key without a named curve, must be P-256, P-384 or P-521`},
		"no point": {ec(p256, []byte{4, 1, 1}), `has a key that cannot be parsed: …`},
		"Ed448": {a.pem(ecdsaSHA256, a.key1(asn1.ObjectIdentifier{1, 3, 101, 113}, asn1.NullRawValue, []byte{1}),
			a.cn("a")), `has a key of algorithm 1.3.101.113, must be RSA, ECDSA or Ed25519`},

		"no subject": {a.request([]byte{0x31, 0}),
			`has a subject that cannot be parsed, must be a distinguished name`},
		"two CNs": {a.request(a.cn("a.example", "b.example")), `has several common names, may have at most one`},
		"number as CN": {a.request(a.seq(a.set(a.seq(a.der(oidCommonName), a.der(1))))),
			`has a common name that is not text, must be a string`},
		"empty CN": {cn(""), `has an empty common name, must be a name`},
		"blank in CN": {cn("a host"),
			`has common name "a host" with the character ' ', may have letters, digits, -, _ and dots`},
		"slash in CN": {cn("a/b"),
			`has common name "a/b" with the character '/', may have letters, digits, -, _ and dots`},
		"equals in CN": {cn("a=b"),
			`has common name "a=b" with the character '=', may have letters, digits, -, _ and dots`},
		"NUL in CN": {cn("a\x00.b"),
			`has common name "a\x00.b" with the control character \x00, may have letters, digits, -, _ and dots`},
		"newline in CN": {cn("a\nb"),
			`has common name "a\nb" with the control character \x0a, may have letters, digits, -, _ and dots`},
		"non-ASCII CN": {cn("bücher.example"),
			`has common name "b\u00fccher.example" outside ASCII, must be in its xn-- form`},
		"wildcard CN": {cn("*.example"), `has the wildcard "*.example" as common name, must be the name of one host`},
		"two dots in CN": {cn("a..b"),
			`has common name "a..b" with an empty label, must have letters or digits between dots`},
		"long label, CN": {cn(strings.Repeat("l", 64)),
			`has common name "` + strings.Repeat("l", 64) + `" with a label of 64 characters, may have at most 63`},
		"long CN": {cn(long), `has common name "` + long[:80] + `" of 254 characters, may have at most 253`},
		"hostile CN": {cn(hostile), `has common name ` + fmt.Sprintf("%q", hostile[:80]) +
			` with the control character \x1b, may have letters, digits, -, _ and dots`},
		"no attribute": {a.request(a.cn("a"), []byte{4, 0}),
			`has an attribute that cannot be parsed, must be a type and a set of values`},
		"two lists": {a.request(a.cn("a"), a.asks(usage), a.asks()),
			`has several lists of extensions or an empty one, may have one list`},
		"no extensions": {a.request(a.cn("a"), a.seq(a.der(oidExtensionRequest), a.set([]byte{4, 0}))),
			`has extensions that cannot be parsed, must be a list of them`},
		"extension twice": {a.request(a.cn("a"), a.asks(usage, usage)),
			`has extension 2.5.29.15 twice, may have it once`},

		"no SAN": {ext(oidAltName, []byte{4, 0}),
			`has a subjectAltName that cannot be parsed, must be a list of names`},
		"101 names": {a.san(a.many("n", 101)...), `has 101 names, may have at most 100`},
		"tag 9":     {a.san(a.other(9)), `has a subjectAltName that cannot be parsed, it has class 2 and tag 9`},
		"another class": {a.san([]byte{4, 1, 'x'}),
			`has a subjectAltName that cannot be parsed, it has class 0 and tag 4`},
		"constructed": {a.san(a.raw(asn1.ClassContextSpecific, 2, a.dns("a"))),
			`has a subjectAltName that cannot be parsed, its DNS is constructed`},
		"otherName":      {a.san(a.other(0)), `has a subjectAltName of kind otherName, must be DNS or IP`},
		"email":          {a.san(a.other(1)), `has a subjectAltName of kind email, must be DNS or IP`},
		"x400Address":    {a.san(a.other(3)), `has a subjectAltName of kind x400Address, must be DNS or IP`},
		"directoryName":  {a.san(a.other(4)), `has a subjectAltName of kind directoryName, must be DNS or IP`},
		"ediPartyName":   {a.san(a.other(5)), `has a subjectAltName of kind ediPartyName, must be DNS or IP`},
		"URI":            {a.san(a.other(6)), `has a subjectAltName of kind URI, must be DNS or IP`},
		"registeredID":   {a.san(a.other(8)), `has a subjectAltName of kind registeredID, must be DNS or IP`},
		"address of 5":   {a.san(a.ip(1, 2, 3, 4, 5)), `has an IP address of 5 octets, must be 4 or 16`},
		"address as DNS": {dns("192.0.2.1"), `has the IP address 192.0.2.1 as a DNS name, must be an IP address`},
		"empty DNS":      {dns("."), `has an empty DNS name, must be a name`},
		"wildcard": {a.san(a.dns("a.example"), a.dns("*.example")),
			`has the wildcard "*.example" as DNS name, must be the name of one host`},
		"wildcard within": {dns("a*.example"),
			`has the wildcard "a*.example" as DNS name, must be the name of one host`},
		"NUL": {dns("a.example\x00.b"),
			`has DNS name "a.example\x00.b" with the control character \x00, may have letters, digits, -, _ and dots`},
		"DEL": {dns("a\x7f"),
			`has DNS name "a\x7f" with the control character \x7f, may have letters, digits, -, _ and dots`},
		"non-ASCII": {dns("a\xff"), `has DNS name "a\xff" outside ASCII, must be in its xn-- form`},
		"blank": {dns(" a"),
			`has DNS name " a" with the character ' ', may have letters, digits, -, _ and dots`},
		"slash": {dns("a/b"),
			`has DNS name "a/b" with the character '/', may have letters, digits, -, _ and dots`},
		"equals": {dns("CN=a"),
			`has DNS name "CN=a" with the character '=', may have letters, digits, -, _ and dots`},
		"dot in front": {dns(".a"),
			`has DNS name ".a" with an empty label, must have letters or digits between dots`},
		"two dots behind": {dns("a.."),
			`has DNS name "a.." with an empty label, must have letters or digits between dots`},
		"long label": {dns("a." + strings.Repeat("l", 64)),
			`has DNS name "a.` + strings.Repeat("l", 64) + `" with a label of 64 characters, may have at most 63`},
		"long name": {dns(long), `has DNS name "` + long[:80] + `" of 254 characters, may have at most 253`},
		"CA": {ext(oidConstraints, []byte{0x30, 3, 1, 1, 255}),
			`is for a CA (basicConstraints CA:TRUE), must be for a host`},
		"no constraints": {ext(oidConstraints, []byte{4, 0}),
			`has basicConstraints that cannot be parsed, must be CA and a path length`},
		"half a boolean": {ext(oidConstraints, []byte{0x30, 3, 1, 1, 1}),
			`has basicConstraints that cannot be parsed, must be CA and a path length`},
		"behind the SAN": {ext(oidAltName, append(a.seq(a.dns("a")), 5, 0)),
			`has a subjectAltName that cannot be parsed, must be a list of names`},
		"empty SAN": {a.san(), `has a subjectAltName that cannot be parsed, must be a list of names`},
		"CN and 100 names": {a.request(a.cn("x"),
			a.asks(pkix.Extension{Id: oidAltName, Value: a.seq(a.many("n", 100)...)})),
			`has 101 names, may have at most 100`},
	} {
		r, err := ReadRequest(c.data)
		// The text that the standard library adds is not compared.
		text, open := strings.CutSuffix("the request "+c.text, "…")
		if !errors.Is(err, ErrRequest) || err.Error() != text && !(open && strings.HasPrefix(err.Error(), text)) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, text)
		}
		if r.WantsCA != (name == "CA") || r.Public != nil || r.CommonName != "" || r.DNSNames != nil || r.IPs != nil {
			t.Errorf("%s: refused, and it returned %+v", name, r)
		}
		if slices.Contains(again, name) {
			continue
		}
		if other, ok := texts[c.text]; ok {
			t.Errorf("%s and %s are refused with one text", name, other)
		}
		texts[c.text] = name
	}
}

// These requests are accepted, with these names and keys.
func TestAccepted(t *testing.T) {
	a := newAsker(t)
	san := func(names ...[]byte) pkix.Extension { return pkix.Extension{Id: oidAltName, Value: a.seq(names...)} }
	full := strings.Repeat("l23456789.", 26)[:253]
	label := strings.Repeat("l", 63)
	for name, c := range map[string]struct {
		data []byte
		want Request
	}{
		"only a key": {a.request(a.cn()), Request{}},
		"mixed case": {a.request(a.cn("Mail.Example."), a.asks(san(a.dns("WWW.Example."), a.dns("mail.example")))),
			Request{CommonName: "mail.example", DNSNames: []string{"www.example", "mail.example"}}},
		"each once": {a.san(a.dns("a"), a.dns("A."), a.ip(1, 2, 3, 4), a.ip(1, 2, 3, 4),
			a.ip(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4)),
			Request{DNSNames: []string{"a"}, IPs: []net.IP{{1, 2, 3, 4}}}},
		"address as CN": {a.request(a.cn("2001:DB8::0:1")), Request{CommonName: "2001:db8::1"}},
		"full length": {a.request(a.cn(full+"."), a.asks(san(a.dns(label+".example")))),
			Request{CommonName: full, DNSNames: []string{label + ".example"}}},
		"underscore": {a.san(a.dns("_25._tcp.host-1.example")),
			Request{DNSNames: []string{"_25._tcp.host-1.example"}}},
		"critical SAN": {a.request(a.cn(),
			a.asks(pkix.Extension{Id: oidAltName, Critical: true, Value: a.seq(a.dns("a"))})),
			Request{DNSNames: []string{"a"}}},
		"no CA": {a.request(a.cn("a"), a.asks(pkix.Extension{Id: oidConstraints, Value: []byte{0x30, 0}})),
			Request{CommonName: "a"}},
		"unknown": {a.request(a.cn("a"),
			a.asks(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte("x")})),
			Request{CommonName: "a"}},
		"other attribute": {a.request(a.cn("a"),
			a.seq(a.der(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}), a.set(a.der("challenge")))),
			Request{CommonName: "a"}},
		"CRLF": {bytes.ReplaceAll(a.request(a.cn("a")), []byte("\n"), []byte("\r\n")), Request{CommonName: "a"}},
		"text around": {slices.Concat([]byte("Dear CA,\n-- \n"), a.request(a.cn("a")), []byte("\nbye\n")),
			Request{CommonName: "a"}},
		"old label": {bytes.ReplaceAll(a.request(a.cn("a")), []byte("CERTIFICATE"), []byte("NEW CERTIFICATE")),
			Request{CommonName: "a"}},
	} {
		c.want.Public = crypto.PublicKey(&a.key.PublicKey)
		r, err := ReadRequest(c.data)
		if err != nil || !same(r, c.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, r, err, c.want)
		}
	}
	if r, err := ReadRequest(a.san(a.many("n", 100)...)); err != nil || len(r.DNSNames) != 100 {
		t.Errorf("100 names: %d, %v", len(r.DNSNames), err)
	}
}

func same(a, b Request) bool {
	return SamePublicKey(a.Public, b.Public) && a.CommonName == b.CommonName && a.WantsCA == b.WantsCA &&
		slices.Equal(a.DNSNames, b.DNSNames) &&
		slices.EqualFunc(a.IPs, b.IPs, func(x, y net.IP) bool { return string(x) == string(y) })
}
