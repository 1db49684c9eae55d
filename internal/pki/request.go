package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"slices"
)

// ErrRequest is the kind of every refusal of a request. Test with errors.Is.
var ErrRequest = errors.New("the request")

// maxRequest bounds a request, in octets.
const maxRequest = 64 << 10

// Request is a request for a certificate, with proof that the sender has the key. All names may be empty. Other
// attributes of the subject and other extensions are not kept, because the CA decides about them.
type Request struct {
	Public     crypto.PublicKey
	CommonName string   // a DNS name in lower case or an IP address; "" for none
	DNSNames   []string // lower case, without the last dot, each once
	IPs        []net.IP // 4 octets for IPv4, 16 for IPv6, each once
	WantsCA    bool     // it asks for a CA certificate, which is always refused
}

// requestInfo is CertificationRequestInfo of RFC 2986 section 4.1.
type requestInfo struct {
	Version    int
	Subject    asn1.RawValue
	Key        publicKeyInfo
	Attributes []asn1.RawValue `asn1:"tag:0"`
}

type publicKeyInfo struct {
	Raw       asn1.RawContent
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

type certificationRequest struct {
	Info      requestInfo
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

var (
	oidExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14} // RFC 2985 section 5.4.2
	oidAltName          = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidConstraints      = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidRSA              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // RFC 3279 section 2.3.1
	oidEC               = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}     // RFC 5480 section 2.1.1
	oidEd25519          = asn1.ObjectIdentifier{1, 3, 101, 112}             // RFC 8410 section 3
)

// curves are the named curves that are accepted (RFC 5480 section 2.1.1.1).
var curves = []string{"1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"}

// signatures are the algorithms that are accepted: SHA-2 and Ed25519.
var signatures = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w "+format, append([]any{ErrRequest}, args...)...)
}

// ReadRequest parses and checks one PKCS#10 request (RFC 2986) in PEM from anybody. Every error is an ErrRequest that
// says why it is refused.
func ReadRequest(data []byte) (Request, error) {
	der, err := requestBlock(data)
	if err != nil {
		return Request{}, err
	}
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &outer); err == nil && len(rest) != 0 {
		return Request{}, refuse("has %d octets after its end, may have none", len(rest))
	}
	var req certificationRequest
	if _, err := asn1.Unmarshal(der, &req); err != nil {
		return Request{}, refuse("is not a CertificationRequest of PKCS#10")
	}
	var r Request
	if err := checkKey(req.Info.Key); err != nil {
		return Request{}, err
	}
	if err := r.readSubject(req.Info.Subject.FullBytes); err != nil {
		return Request{}, err
	}
	extensions, err := requestedExtensions(req.Info.Attributes)
	if err != nil {
		return Request{}, err
	}
	for _, e := range extensions {
		switch {
		case e.Id.Equal(oidAltName):
			err = r.readAltNames(e.Value)
		case e.Id.Equal(oidConstraints):
			err = r.readConstraints(e.Value)
		}
		if err != nil {
			return Request{WantsCA: r.WantsCA}, err
		}
	}
	if n := r.count(); n > maxNames {
		return Request{}, refuse("has %d names, may have at most %d", n, maxNames)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return Request{}, refuse("cannot be read: %+.80q", err.Error())
	}
	if !slices.Contains(signatures, csr.SignatureAlgorithm) {
		got := csr.SignatureAlgorithm.String()
		if csr.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
			got = short(req.Algorithm.Algorithm.String())
		}
		return Request{}, refuse("is signed with %s, must be SHA-256, SHA-384, SHA-512 or Ed25519", got)
	}
	if err := csr.CheckSignature(); err != nil {
		return Request{}, refuse("is not signed with its own key: %+.80q", err.Error())
	}
	r.Public = csr.PublicKey
	return r, nil
}

// requestBlock is the DER of the only PEM block (RFC 7468 section 7).
func requestBlock(data []byte) ([]byte, error) {
	if len(data) > maxRequest {
		return nil, refuse("has %d octets, may have at most %d", len(data), maxRequest)
	}
	if n := bytes.Count(data, []byte("-----BEGIN")); n != 1 {
		return nil, refuse("has %d PEM blocks, must have one CERTIFICATE REQUEST", n)
	}
	b, _ := pem.Decode(bytes.TrimPrefix(data, byteMark))
	switch {
	case b == nil:
		return nil, refuse("has a PEM block that is broken or has no end, must have one CERTIFICATE REQUEST")
	case b.Type != "CERTIFICATE REQUEST" && b.Type != "NEW CERTIFICATE REQUEST":
		return nil, refuse("has a PEM block %+.80q, must be CERTIFICATE REQUEST", b.Type)
	case len(b.Headers) != 0:
		return nil, refuse("has %d PEM headers, may have none", len(b.Headers))
	}
	return b.Bytes, nil
}

// checkKey checks the kind and size of the key before anything is computed with it.
func checkKey(k publicKeyInfo) error {
	switch a := k.Algorithm; {
	case a.Algorithm.Equal(oidRSA):
		var p struct{ N, E *big.Int } // RFC 8017 appendix A.1.1
		if err := exactly(k.Key.RightAlign(), &p); err != nil {
			return refuse("has an RSA key that cannot be parsed, must be a modulus and an exponent")
		}
		if bits := p.N.BitLen(); p.N.Sign() < 0 || bits < 2048 || bits > 8192 {
			return refuse("has an RSA key of %d bits, must be 2048 to 8192", p.N.Sign()*bits)
		}
		if p.E.Cmp(big.NewInt(3)) < 0 || p.E.Cmp(big.NewInt(math.MaxInt32)) > 0 || p.E.Bit(0) == 0 {
			return refuse("has an RSA key with exponent %s, must be an odd one from 3 to %d", short(p.E.String()),
				math.MaxInt32)
		}
	case a.Algorithm.Equal(oidEC):
		var curve asn1.ObjectIdentifier
		if err := exactly(a.Parameters.FullBytes, &curve); err != nil {
			return refuse("has an EC key without a named curve, must be P-256, P-384 or P-521")
		}
		if !slices.Contains(curves, curve.String()) {
			return refuse("has an EC key on curve %s, must be P-256, P-384 or P-521", short(curve.String()))
		}
	case a.Algorithm.Equal(oidEd25519):
	default:
		return refuse("has a key of algorithm %s, must be RSA, ECDSA or Ed25519", short(a.Algorithm.String()))
	}
	if _, err := x509.ParsePKIXPublicKey(k.Raw); err != nil {
		return refuse("has a key that cannot be parsed: %+.80q", err.Error())
	}
	return nil
}

// short cuts text from a request that needs no quotes, such as a number, to 80 characters.
func short(s string) string { return fmt.Sprintf("%.80s", s) }

// requestedExtensions parses the attributes more strictly than crypto/x509, which ignores those that it cannot parse.
func requestedExtensions(attributes []asn1.RawValue) ([]pkix.Extension, error) {
	var out []pkix.Extension
	found := false
	for _, raw := range attributes {
		var a struct {
			Type   asn1.ObjectIdentifier
			Values []asn1.RawValue `asn1:"set"`
		}
		if err := exactly(raw.FullBytes, &a); err != nil {
			return nil, refuse("has an attribute that cannot be parsed, must be a type and a set of values")
		}
		if !a.Type.Equal(oidExtensionRequest) {
			continue
		}
		if found || len(a.Values) != 1 {
			return nil, refuse("has several lists of extensions or an empty one, may have one list")
		}
		found = true
		if err := exactly(a.Values[0].FullBytes, &out); err != nil {
			return nil, refuse("has extensions that cannot be parsed, must be a list of them")
		}
	}
	seen := map[string]bool{}
	for _, e := range out {
		oid := e.Id.String()
		if seen[oid] {
			return nil, refuse("has extension %s twice, may have it once", short(oid))
		}
		seen[oid] = true
	}
	return out, nil
}

// readConstraints checks basicConstraints (RFC 5280 section 4.2.1.9): a request for a CA certificate is refused.
func (r *Request) readConstraints(der []byte) error {
	var c struct {
		CA      bool `asn1:"optional"`
		PathLen int  `asn1:"optional"`
	}
	if err := exactly(der, &c); err != nil {
		return refuse("has basicConstraints that cannot be parsed, must be CA and a path length")
	}
	if r.WantsCA = c.CA; c.CA {
		return refuse("is for a CA (basicConstraints CA:TRUE), must be for a host")
	}
	return nil
}

// CreateRequest makes a PEM request that ReadRequest accepts. CN is name, unless that is longer than 64 characters;
// subjectAltName is name and altNames, each a DNS name or an IP address, each once. name may be empty where there are
// altNames.
func CreateRequest(key crypto.Signer, name string, altNames []string, rand io.Reader) ([]byte, error) {
	var r Request
	for i, s := range append([]string{name}, altNames...) {
		if i == 0 && s == "" && len(altNames) > 0 {
			continue
		}
		host, ip, err := readName("name", s)
		if err != nil {
			return nil, err
		}
		if ip != nil {
			host = ip.String()
			r.addIP(ip)
		} else if !slices.Contains(r.DNSNames, host) {
			r.DNSNames = append(r.DNSNames, host)
		}
		if i == 0 && len(host) <= maxCN {
			r.CommonName = host
		}
	}
	if n := r.count(); n > maxNames {
		return nil, refuse("has %d names, may have at most %d", n, maxNames)
	}
	der, err := x509.CreateCertificateRequest(rand, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: r.CommonName}, DNSNames: r.DNSNames, IPAddresses: r.IPs,
	}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
