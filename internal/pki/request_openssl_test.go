package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailcertd/internal/openssltest"
)

// ask lets openssl make a request with the options in req, for a key that genpkey's options describe. ~ stands for a
// blank within a word.
func ask(t testing.TB, genpkey, req string) []byte {
	t.Helper()
	openssltest.Need(t)
	key := openssl(t, nil, append([]string{"genpkey"}, strings.Fields(genpkey)...)...)
	args := []string{"req", "-new", "-config", "/dev/null", "-key", "/dev/stdin"}
	for w := range strings.FieldsSeq(req) {
		args = append(args, strings.ReplaceAll(w, "~", " "))
	}
	return openssl(t, key, args...)
}

const (
	genRSA  = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"
	genP256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
	genEd   = "-algorithm ED25519"
)

// Requests that openssl makes are accepted or refused for the right reason.
func TestRequestsOfOpenssl(t *testing.T) {
	openssltest.Need(t)
	const host = " -subj /CN=Host.example"
	takes := Request{CommonName: "host.example"}
	for name, c := range map[string]struct {
		genpkey, req string
		want         Request
		text         string // the reason of the refusal
	}{
		"RSA":          {genRSA, "-sha256" + host, takes, ""},
		"RSA, SHA-512": {genRSA, "-sha512" + host, takes, ""},
		"RSA, PSS": {genRSA, "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1" +
			host, takes, ""},
		"RSA, exponent 3": {genRSA + " -pkeyopt rsa_keygen_pubexp:3", "-sha256" + host, takes, ""},
		"P-256":           {genP256, "-sha256" + host, takes, ""},
		"P-384":           {"-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-sha384" + host, takes, ""},
		"P-521":           {"-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-sha512" + host, takes, ""},
		"Ed25519":         {genEd, host, takes, ""},
		"with text":       {genP256, "-text" + host, takes, ""},
		"old label":       {genP256, "-newhdr" + host, takes, ""},
		"no names":        {genP256, "-subj /", Request{}, ""},
		"long subject":    {genP256, "-subj /C=JP/O=A~Home/OU=Mail/CN=Host.example", takes, ""},
		"names": {genP256,
			"-addext subjectAltName=DNS:Host.example.,DNS:b.example,IP:192.0.2.1,IP:2001:db8::1" + host,
			Request{CommonName: "host.example", DNSNames: []string{"host.example", "b.example"},
				IPs: []net.IP{{192, 0, 2, 1}, net.ParseIP("2001:db8::1")}}, ""},
		"other extensions": {genP256,
			"-addext keyUsage=critical,keyCertSign -addext extendedKeyUsage=codeSigning -addext nsComment=x" +
				host, takes, ""},
		"no CA": {genP256, "-addext basicConstraints=CA:FALSE" + host, takes, ""},
		"CA": {genP256, "-addext basicConstraints=critical,CA:TRUE,pathlen:0" + host, Request{},
			"is for a CA (basicConstraints CA:TRUE), must be for a host"},
		"RSA, SHA-1": {genRSA, "-sha1" + host, Request{}, "is signed with SHA1-RSA, must be SHA-256"},
		"RSA, MD5":   {genRSA, "-md5" + host, Request{}, "is signed with MD5-RSA, must be SHA-256"},
		"PSS, SHA-1": {genRSA, "-sha1 -sigopt rsa_padding_mode:pss" + host, Request{},
			"is signed with 1.2.840.113549.1.1.10, must be SHA-256"},
		"ECDSA, SHA-1": {genP256, "-sha1" + host, Request{}, "is signed with ECDSA-SHA1, must be SHA-256"},
		"ECDSA, SHA3": {genP256, "-sha3-256" + host, Request{},
			"is signed with 2.16.840.1.101.3.4.3.10, must be SHA-256"},
		"rsa-1024": {"-algorithm RSA -pkeyopt rsa_keygen_bits:1024", host, Request{},
			"has an RSA key of 1024 bits, must be 2048 to 8192"},
		"a key of PSS only": {"-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", host, Request{},
			"has a key of algorithm 1.2.840.113549.1.1.10, must be RSA, ECDSA or Ed25519"},
		"P-224": {"-algorithm EC -pkeyopt ec_paramgen_curve:P-224", host, Request{},
			"has an EC key on curve 1.3.132.0.33, must be"},
		"secp256k1": {"-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", host, Request{},
			"has an EC key on curve 1.3.132.0.10, must be"},
		"explicit curve": {genP256 + " -pkeyopt ec_param_enc:explicit", host, Request{},
			"has an EC key without a named curve, must be"},
		"Ed448": {"-algorithm ED448", host, Request{}, "has a key of algorithm 1.3.101.113, must be"},
		"email": {genP256, "-addext subjectAltName=email:a@b.example" + host, Request{},
			"has a subjectAltName of kind email, must be DNS or IP"},
		"URI": {genP256, "-addext subjectAltName=URI:https://b.example/" + host, Request{},
			"has a subjectAltName of kind URI, must be DNS or IP"},
		"otherName": {genP256, "-addext subjectAltName=otherName:1.2.3;UTF8:x" + host, Request{},
			"has a subjectAltName of kind otherName, must be DNS or IP"},
		"registeredID": {genP256, "-addext subjectAltName=RID:1.2.3" + host, Request{},
			"has a subjectAltName of kind registeredID, must be DNS or IP"},
		"wildcard": {genP256, "-addext subjectAltName=DNS:*.example" + host, Request{},
			`has the wildcard "*.example" as DNS name`},
		"two CNs": {genP256, "-subj /CN=a/CN=b", Request{}, "has several common names, may have at most one"},
		"a person": {genP256, "-subj /CN=Jane~Doe", Request{},
			`has common name "Jane Doe" with the character ' '`},
		"UTF-8": {genP256, "-utf8 -subj /CN=bücher.example", Request{},
			`has common name "b\u00fccher.example" outside ASCII`},
		"Latin-1 as BMP": {genP256, "-utf8 -subj /CN=日本.example", Request{},
			`has common name "\u65e5\u672c.example" outside ASCII`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ReadRequest(ask(t, c.genpkey, c.req))
			if c.text != "" {
				if !errors.Is(err, ErrRequest) || !strings.HasPrefix(err.Error(), "the request "+c.text) {
					t.Errorf("%v, want %s", err, c.text)
				}
				return
			}
			c.want.Public = r.Public
			if err != nil || r.Public == nil || !same(r, c.want) {
				t.Errorf("%+v, %v\nwant %+v", r, err, c.want)
			}
		})
	}
}

// DSA, and a directory name as SAN, need files.
func TestRequestsOfOpensslFromFiles(t *testing.T) {
	openssltest.Need(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf,
		[]byte("[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectAltName=dirName:san\n[san]\nCN=a.example\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	dsa := filepath.Join(dir, "dsa")
	if err := os.WriteFile(dsa, openssl(t, nil, "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt",
		"dsa_paramgen_bits:1024"), 0o600); err != nil {
		t.Fatal(err)
	}
	p256 := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	for text, data := range map[string][]byte{
		"the request has a key of algorithm 1.2.840.10040.4.1, must be RSA, ECDSA or Ed25519": openssl(t,
			openssl(t, nil, "genpkey", "-paramfile", dsa), "req", "-new", "-key", "/dev/stdin", "-config", conf,
			"-subj", "/CN=a"),
		"the request has a subjectAltName of kind directoryName, must be DNS or IP": openssl(t, p256, "req", "-new",
			"-key", "/dev/stdin", "-config", conf, "-reqexts", "ext", "-subj", "/CN=a"),
		"the request has a PEM block \"X509 CRL\", must be CERTIFICATE REQUEST": pem.EncodeToMemory(
			&pem.Block{Type: "X509 CRL"}),
		"the request has 2 PEM blocks, must have one CERTIFICATE REQUEST": slices.Concat(p256,
			ask(t, genEd, "-subj /CN=a")),
		"the request has a PEM block \"PRIVATE KEY\", must be CERTIFICATE REQUEST": p256,
		"the request has 0 PEM blocks, must have one CERTIFICATE REQUEST": ask(t, genEd,
			"-subj /CN=a -outform DER"),
	} {
		if _, err := ReadRequest(data); err == nil || err.Error() != text {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

// openssl reads the requests that we make, and so do we.
func TestCreateRequest(t *testing.T) {
	long := strings.Repeat("long.", 13) + "example" // 72 characters
	for kind, plain := range plainKeys(t) {
		key, err := ParseKey(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name    string
			alt     []string
			subject string
			sans    string
			want    Request
		}{
			{"Mail.Example.", []string{"192.0.2.1", "b.example", "mail.example", "::1", "::FFFF:192.0.2.1"},
				"subject=CN = mail.example",
				"DNS:mail.example, DNS:b.example, IP Address:192.0.2.1, IP Address:0:0:0:0:0:0:0:1",
				Request{CommonName: "mail.example", DNSNames: []string{"mail.example", "b.example"},
					IPs: []net.IP{{192, 0, 2, 1}, net.IPv6loopback}}},
			{"192.0.2.1", nil, "subject=CN = 192.0.2.1", "IP Address:192.0.2.1",
				Request{CommonName: "192.0.2.1", IPs: []net.IP{{192, 0, 2, 1}}}},
			{long[len(long)-64:], nil, "subject=CN = " + long[len(long)-64:], "DNS:" + long[len(long)-64:],
				Request{CommonName: long[len(long)-64:], DNSNames: []string{long[len(long)-64:]}}},
			{long, []string{"a"}, "subject=", "DNS:" + long + ", DNS:a", Request{DNSNames: []string{long, "a"}}},
			{"", []string{"a"}, "subject=", "DNS:a", Request{DNSNames: []string{"a"}}},
		} {
			data, err := CreateRequest(key, c.name, c.alt, rand.Reader)
			if err != nil {
				t.Fatalf("%s, %q: %v", kind, c.name, err)
			}
			text := string(openssl(t, data, "req", "-verify", "-noout", "-subject", "-text", "-nameopt", "oneline"))
			if !strings.Contains(text, c.subject+"\n") || !strings.Contains(text, c.sans+"\n") {
				t.Errorf("%s, %q:\n%s", kind, c.name, text)
			}
			c.want.Public = key.Public()
			if r, err := ReadRequest(data); err != nil || !same(r, c.want) {
				t.Errorf("%s, %q: %+v, %v", kind, c.name, r, err)
			}
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		name string
		alt  []string
	}{
		"no name": {"", nil}, "an empty one": {"a", []string{""}}, "a wildcard": {"*.example", nil},
		"too many": {"a", strings.Split(strings.Repeat("x.", 200), ".")}, "not ASCII": {"a", []string{"ü"}},
		"101": {"a", strings.Fields(strings.Join(names(100), " "))},
	} {
		if data, err := CreateRequest(key, c.name, c.alt, rand.Reader); err == nil || data != nil {
			t.Errorf("%s: a request was made", name)
		}
	}
}

func names(n int) (out []string) {
	for i := range n {
		out = append(out, strings.Repeat("x", i%50+1)+"."+strings.Repeat("y", i/50+1))
	}
	return out
}

// aName is the rule of readName in another notation.
var aName = regexp.MustCompile(`^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$`)

// Every name of an accepted request follows the rules, and a request that is made from it reads the same. A refusal
// returns no request, and its text can be printed on a terminal. Without data, the request is made from subject and SAN
// and signed, so that the code after the check of the signature is reached too.
func FuzzReadRequest(f *testing.F) {
	a := newAsker(f)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds(f) {
		f.Add(s, []byte(nil), []byte(nil))
	}
	for _, s := range [][]byte{a.request(a.cn("a.example")), a.san(a.dns("a"), a.ip(1, 2, 3, 4)), a.san(a.other(1)),
		ask(f, genRSA, "-subj /CN=a"), ask(f, genEd, "-text -subj /CN=a")} {
		f.Add(s, []byte(nil), []byte(nil))
	}
	for _, cn := range []string{"Host.example.", "192.0.2.1", "::1", "*.x", "a..b", "a\x00b", "ü", "",
		strings.Repeat("a.", 120)} {
		f.Add([]byte(nil), a.cn(cn), a.seq(a.dns(cn), a.dns("b"), a.ip(1, 2, 3, 4)))
		f.Add([]byte(nil), a.cn(cn, cn), a.seq(a.other(6)))
	}
	f.Add([]byte(nil), a.cn(), a.seq(a.many("n", 101)...))
	f.Fuzz(func(t *testing.T, data, subject, san []byte) {
		if len(data) == 0 && len(subject) < 40000 && len(san) < 40000 {
			a := asker{t: t, key: a.key, spki: a.spki}
			ext := a.seq(a.der(oidAltName), a.der(san))
			data = a.request(subject, a.seq(a.der(oidExtensionRequest), a.set(a.seq(ext))))
		}
		r, err := ReadRequest(data)
		if err != nil {
			text := err.Error()
			if !errors.Is(err, ErrRequest) || r.Public != nil || r.CommonName != "" || r.DNSNames != nil ||
				r.IPs != nil || len(text) > 1200 {
				t.Fatalf("%v, %+v", err, r)
			}
			if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("%q", text)
			}
			return
		}
		all := slices.Clone(r.DNSNames)
		for _, ip := range r.IPs {
			if len(ip) != 4 && (len(ip) != 16 || ip.To4() != nil) {
				t.Fatalf("%v", r.IPs)
			}
			all = append(all, ip.String())
		}
		for _, n := range r.DNSNames {
			if !aName.MatchString(n) || len(n) > 253 || net.ParseIP(n) != nil {
				t.Fatalf("took %q", n)
			}
		}
		if cn := r.CommonName; cn != "" && net.ParseIP(cn) == nil && (!aName.MatchString(cn) || len(cn) > 253) {
			t.Fatalf("took %q", cn)
		}
		if TypeOf(r.Public) == "" || r.WantsCA || len(all) > 100 {
			t.Fatalf("took %+v", r)
		}
		again, err := CreateRequest(other, r.CommonName, all, rand.Reader)
		if r.CommonName == "" && len(all) == 0 {
			if err == nil {
				t.Fatal("asked for nothing")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// In the new request the common name is also among the names, and the first of them.
		want := Request{Public: other.Public(), CommonName: r.CommonName, DNSNames: r.DNSNames, IPs: r.IPs}
		if len(r.CommonName) > 64 {
			want.CommonName = ""
		}
		switch ip := net.ParseIP(r.CommonName); {
		case ip != nil:
			want.IPs = front(ip4(ip), r.IPs, func(x net.IP) bool { return x.Equal(ip) })
		case r.CommonName != "":
			want.DNSNames = front(r.CommonName, r.DNSNames, func(x string) bool { return x == r.CommonName })
		}
		back, err := ReadRequest(again)
		if err != nil || !same(back, want) {
			t.Fatalf("%+v, %v\nwant %+v", back, err, want)
		}
		if !bytes.HasSuffix(again, []byte("-----END CERTIFICATE REQUEST-----\n")) {
			t.Fatalf("%s", again)
		}
	})
}

func ip4(ip net.IP) net.IP {
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}

// front returns list with first at its beginning, and nowhere else.
func front[T any](first T, list []T, same func(T) bool) []T {
	return append([]T{first}, slices.DeleteFunc(slices.Clone(list), same)...)
}
