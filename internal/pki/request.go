package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// Request is what a certificate request (PKCS#10, RFC 2986) asks for, checked.
type Request struct {
	Public     crypto.PublicKey
	CommonName string   // in lower case; "" when it has none
	DNSNames   []string // of its subjectAltName, in lower case
	IPs        []net.IP
}

// ErrRequest says that a request is not one that a CA takes; the text says why.
var ErrRequest = errors.New("the request is refused")

// Bounds of a request.
const (
	maxRequest      = 64 << 10 // bytes
	maxRequestNames = 100
	maxRequestRSA   = 8192 // bits
	minRequestRSA   = 2048
)

var (
	oidSAN         = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCommonName  = asn1.ObjectIdentifier{2, 5, 4, 3}
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

// clip shortens hostile text.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// ReadRequest reads an untrusted request: one PEM block, its signature right
// (the asker has the key), a key that OpenSSL takes, names that are plain host
// names and addresses. What a CA decides by itself (key usage, lifetime) is
// ignored, a wish to be a CA is refused.
func ReadRequest(data []byte) (Request, error) {
	var r Request
	if len(data) > maxRequest {
		return r, refused("it is larger than %d bytes", maxRequest)
	}
	b, rest := pem.Decode(data)
	switch {
	case b == nil:
		return r, refused("it holds no whole PEM block")
	case b.Type != "CERTIFICATE REQUEST" && b.Type != "NEW CERTIFICATE REQUEST":
		return r, refused("it is a block %q, want CERTIFICATE REQUEST", clip(b.Type))
	case bytes.Count(data, []byte("-----BEGIN ")) != 1 || bytes.Contains(rest, []byte("-----BEGIN")):
		return r, refused("it holds more than one block, want one request")
	}
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return r, refused("it cannot be parsed: %s", clip(err.Error()))
	}
	switch csr.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return r, refused("it is signed with %s, want SHA-256 or better", csr.SignatureAlgorithm)
	}
	if err := goodKey(csr.PublicKey); err != nil {
		return r, err
	}
	if err := csr.CheckSignature(); err != nil {
		return r, refused("its signature is wrong: whoever made it does not have the key")
	}
	r.Public = csr.PublicKey
	if err := r.readSubject(csr.Subject); err != nil {
		return r, err
	}
	seen := 0
	for _, e := range csr.Extensions {
		switch {
		case e.Id.Equal(oidSAN):
			if seen++; seen > 1 {
				return r, refused("it has more than one subjectAltName")
			}
			if err := r.readSAN(e.Value); err != nil {
				return r, err
			}
		case e.Id.Equal(oidConstraints):
			var c struct {
				CA      bool `asn1:"optional"`
				PathLen int  `asn1:"optional,default:-1"`
			}
			if !whole(e.Value, &c) {
				return r, refused("its basicConstraints cannot be parsed")
			}
			if c.CA {
				return r, refused("it wants to be a CA (CA:TRUE)")
			}
		}
	}
	if r.CommonName == "" && len(r.DNSNames)+len(r.IPs) == 0 {
		return r, refused("it names no host")
	}
	return r, nil
}

func goodKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRequestRSA || n > maxRequestRSA {
			return refused("its RSA key has %d bits, want %d to %d", n, minRequestRSA, maxRequestRSA)
		}
		if k.E < 3 || k.E%2 == 0 {
			return refused("its RSA key has the exponent %d", k.E)
		}
		if k.N.Bit(0) == 0 {
			return refused("its RSA key has an even modulus")
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return nil
		}
		return refused("its key is on the curve %s, want P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	}
	return refused("its key is of an unknown kind, want RSA, ECDSA or Ed25519")
}

func (r *Request) readSubject(s pkix.Name) error {
	n := 0
	for _, a := range s.Names {
		if !a.Type.Equal(oidCommonName) {
			continue // the CA makes the subject
		}
		text, ok := a.Value.(string)
		if n++; n > 1 || !ok {
			return refused("it has more than one common name, or one that is no text")
		}
		if ip := net.ParseIP(text); ip != nil {
			r.CommonName = ip.String()
			continue
		}
		if why := badName(text); why != "" {
			return refused("its common name %q %s", clip(text), why)
		}
		r.CommonName = lowerName(text)
	}
	return nil
}

// kinds are the other choices of GeneralName, RFC 5280 4.2.1.6.
var kinds = map[int]string{0: "otherName", 1: "an e-mail address", 3: "an X.400 address", 4: "a directory name", 5: "an EDI party name", 6: "a URI", 8: "a registered ID"}

func (r *Request) readSAN(der []byte) error {
	var names []asn1.RawValue
	if !whole(der, &names) {
		return refused("its subjectAltName cannot be parsed")
	}
	if len(names) > maxRequestNames {
		return refused("it has %d names, want at most %d", len(names), maxRequestNames)
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific {
			return refused("its subjectAltName cannot be parsed")
		}
		switch n.Tag {
		case 2:
			text := string(n.Bytes)
			if why := badName(text); why != "" {
				return refused("its name %q %s", clip(text), why)
			}
			if name := lowerName(text); !slices.Contains(r.DNSNames, name) {
				r.DNSNames = append(r.DNSNames, name)
			}
		case 7:
			if len(n.Bytes) != net.IPv4len && len(n.Bytes) != net.IPv6len {
				return refused("it has an address of %d bytes", len(n.Bytes))
			}
			r.IPs = append(r.IPs, net.IP(slices.Clone(n.Bytes)))
		default:
			return refused("it has %s among its names, want host names and addresses alone", or(kinds[n.Tag], "something unknown"))
		}
	}
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func lowerName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// badName says why s is no plain host name (RFC 1123, RFC 5890 A-labels); ""
// when it is one.
func badName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return "is empty or longer than 253 characters"
	}
	for _, c := range []byte(s) {
		switch {
		case c == '*':
			return "is a wildcard, want a host's own name"
		case c < ' ' || c == 0x7f:
			return "holds a control character"
		case c >= 0x80:
			return "is not ASCII, want its xn-- form"
		case (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.':
			return fmt.Sprintf("holds the character %q", string(c))
		}
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "has a part that is empty, longer than 63 characters, or begins or ends with a dash"
		}
	}
	if net.ParseIP(s) != nil {
		return "is an address in the place of a name"
	}
	return ""
}

// CreateRequest makes a request for these names: the first is also the common
// name, where it fits into 64 octets (RFC 5280 ub-common-name).
func CreateRequest(key crypto.Signer, name string, altNames []string, rand io.Reader) ([]byte, error) {
	t := &x509.CertificateRequest{}
	if len(name) <= 64 {
		t.Subject.CommonName = name
	}
	for _, n := range append([]string{name}, altNames...) {
		ip := net.ParseIP(n)
		switch {
		case ip != nil:
			if four := ip.To4(); four != nil {
				ip = four
			}
			t.IPAddresses = append(t.IPAddresses, ip)
		case n != "" && !slices.Contains(t.DNSNames, n):
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificateRequest(rand, t, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
