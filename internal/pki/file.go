package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// Why a key or certificate file cannot be used. Test with errors.Is.
var (
	ErrEmpty       = errors.New("is empty")
	ErrGarbage     = errors.New("holds no PEM block of the kind that is needed")
	ErrTruncated   = errors.New("is truncated")
	ErrDER         = errors.New("is DER, where PEM is needed")
	ErrEncrypted   = errors.New("is encrypted with a passphrase: sendmail cannot ask for it")
	ErrUnsupported = errors.New("is well-formed, but of a form that mailcertd cannot read")
)

// errSignsNothing: OpenSSL calls it an unknown certificate type.
var errSignsNothing = fmt.Errorf("%w: it is a key for X25519, which signs nothing", ErrGarbage)

// maxFile bounds what is parsed, in bytes.
const maxFile = 16 << 20

// KeyFile is what a private key file holds, without the secret: it may be
// kept, compared and printed.
type KeyFile struct {
	Public    crypto.PublicKey // nil when there is no usable key
	Type      KeyType
	Form      string // PKCS#8, PKCS#1, SEC1
	Encrypted bool
	Keys      int   // key blocks in the file
	Certs     int   // certificates in the file
	Err       error // why it cannot be used, nil when it can
}

// ReadKeyFile reads a key file as SSL_CTX_use_PrivateKey_file(3) does: the first
// key block counts, whole blocks of other kinds before it are passed over. What
// only some releases of OpenSSL load has the error ErrUnsupported.
func ReadKeyFile(data []byte) KeyFile {
	f, key := readKey(data)
	if f.Err == nil {
		f.Public = key.Public()
		f.Type = TypeOf(f.Public)
	}
	return f
}

// ParseKey is the private key itself, by the same rules.
func ParseKey(data []byte) (crypto.Signer, error) {
	f, key := readKey(data)
	return key, f.Err
}

func readKey(data []byte) (f KeyFile, key crypto.Signer) {
	if f.Err = unread(data); f.Err != nil {
		return f, nil
	}
	f.Err = formless(data)
	broken, behind := false, false // a broken block before the key; a good key behind one that is not
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			switch {
			case broken && f.Keys == 0:
				f.Err = ErrTruncated
			case broken && f.Err == nil, f.Err != nil && behind && !f.Encrypted:
				// OpenSSL 3 looks for a key that it can read, earlier ones take the first.
				f.Err, key = fmt.Errorf("%w: a broken block stands before the key, and not every OpenSSL passes over it", ErrUnsupported), nil
			}
			return f, key
		case err != nil && f.Keys == 0:
			broken = true
		case err != nil:
		case isCertBlock(b.label):
			f.Certs++
		case isKeyBlock(b.label):
			signer, err := parseKeyBlock(b)
			if f.Keys++; f.Keys == 1 {
				f.Form, f.Encrypted = keyForm(b)
				key, f.Err = signer, err
			} else {
				behind = behind || err == nil
			}
		}
	}
}

// StripCertificates is a key file without what is not a key: every key block
// (and EC PARAMETERS) stays byte for byte, everything else goes.
func StripCertificates(data []byte) []byte {
	var out []byte
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			return out
		case err == nil && (isKeyBlock(b.label) || b.label == "EC PARAMETERS"):
			out = append(out, bytes.TrimRight(data[b.start:b.end], "\r\n")...)
			out = append(out, '\n')
		}
	}
}

// CertFile is what a certificate file or bundle holds.
type CertFile struct {
	// Certs are in the order of the file. One that crypto/x509 does not take has
	// its place among them, see ParseCertificate.
	Certs  []*x509.Certificate
	Passed int // certificates of a form that cannot be read at all: Err is ErrUnsupported then
	// Err is set when OpenSSL cannot load the file, or it cannot be said whether
	// it can (ErrUnsupported). Certs holds what could be read.
	Err error
	// Behind is what is wrong behind the first certificate of a file of which
	// nothing else is loaded, see ReadLeafFile; nil: nothing.
	Behind error
	// Marked says that the file begins with a byte-order mark, which OpenSSL reads
	// since its release 3.0 only.
	Marked bool
}

// ReadCertFile reads every certificate of a PEM file as
// SSL_CTX_load_verify_locations(3) does with sendmail's CACertFile: one broken
// block fails the whole file.
func ReadCertFile(data []byte) CertFile {
	var f CertFile
	if f.Err = unread(data); f.Err != nil {
		return f
	}
	f.Marked = bytes.HasPrefix(data, byteMark)
	f.rest(data, 0)
	if len(f.Certs) == 0 && f.Passed == 0 && (f.Err == nil || errors.Is(f.Err, ErrGarbage)) {
		f.Err = formless(data)
	}
	return f
}

// ReadLeafFile reads a PEM file as SSL_CTX_use_certificate_file(3) does: the first
// certificate is loaded, whatever comes behind it. The others are in Certs as
// far as they can be read.
func ReadLeafFile(data []byte) CertFile {
	var f CertFile
	if f.Err = unread(data); f.Err != nil {
		return f
	}
	f.Marked = bytes.HasPrefix(data, byteMark)
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			f.Err = formless(data)
			return f
		case err != nil:
			f.Err = ErrTruncated
			return f
		case b.label != "CERTIFICATE" && b.label != "X509 CERTIFICATE": // openssl's TRUSTED ones too
			continue
		}
		c, err := parseCertBlock(b)
		if err != nil {
			f.Err = err
			if errors.Is(err, ErrUnsupported) {
				f.Passed = 1
			}
			return f
		}
		others := CertFile{Certs: []*x509.Certificate{c}}
		others.rest(data, pos)
		f.Certs, f.Behind = others.Certs, others.Err
		return f
	}
}

// rest reads on from pos to the end, or to the first block that is broken.
func (f *CertFile) rest(data []byte, pos int) {
	for {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			return
		case err != nil && len(f.Certs) > 0:
			f.Err = fmt.Errorf("%w: a block after the first is broken", ErrTruncated)
			return
		case err != nil:
			f.Err = ErrTruncated
			return
		case strings.HasSuffix(b.label, "PRIVATE KEY") && b.headerFault() != nil:
			f.Err = fmt.Errorf("%w: a header or a blank line stands within a block", ErrGarbage)
			return
		case isKeyBlock(b.label) && !b.encrypted() && b.label != "ENCRYPTED PRIVATE KEY":
			switch _, err := parseKeyBlock(b); {
			case errors.Is(err, ErrUnsupported) && f.Err == nil:
				f.Err = fmt.Errorf("a private key in it %w", err)
			case err != nil && !errors.Is(err, ErrUnsupported):
				f.Err = fmt.Errorf("%w: a private key in it cannot be parsed", ErrGarbage)
				return
			}
			continue
		case !isCertBlock(b.label):
			continue
		}
		c, err := parseCertBlock(b)
		switch {
		case errors.Is(err, ErrUnsupported):
			f.Passed++
			if f.Err == nil {
				f.Err = fmt.Errorf("certificate %d: %w", len(f.Certs)+f.Passed, err)
			}
		case err != nil:
			f.Err = fmt.Errorf("certificate %d: %w", len(f.Certs)+f.Passed+1, err)
			return
		default:
			f.Certs = append(f.Certs, c)
		}
	}
}

func parseCertBlock(b block) (*x509.Certificate, error) {
	switch {
	case b.encrypted():
		return nil, ErrEncrypted
	case b.headerFault() != nil:
		return nil, fmt.Errorf("%w: a header or a blank line stands within a block", ErrGarbage)
	}
	c, err := ParseCertificate(b.der)
	if err == nil && b.label == "TRUSTED CERTIFICATE" && len(b.der) > len(c.Raw) {
		var aux []asn1.RawValue // X509_CERT_AUX
		if _, err := asn1.Unmarshal(b.der[len(c.Raw):], &aux); err != nil {
			return nil, fmt.Errorf("%w: its auxiliary data cannot be parsed", ErrGarbage)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", why(b.der), err)
	}
	return c, nil
}

// why tells well-formed DER that Go does not take from what is broken.
func why(der []byte) error {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	var se asn1.SyntaxError
	switch {
	case err == nil && len(rest) == 0 && v.Tag == asn1.TagSequence && v.IsCompound && wellFormed(v.Bytes, 0):
		return ErrUnsupported
	case len(der) > 1 && der[0] == 0x30 && der[1] == 0x80: // BER of indefinite length, which OpenSSL reads
		return ErrUnsupported
	case errors.As(err, &se):
		return ErrTruncated
	}
	return ErrGarbage
}

// wellFormed walks constructed DER values, at most sixteen deep.
func wellFormed(der []byte, depth int) bool {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil || depth > 16 || v.IsCompound && !wellFormed(v.Bytes, depth+1) {
			return false
		}
		der = rest
	}
	return true
}

// unread says what stands against looking for blocks at all.
func unread(data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return ErrEmpty
	case len(data) > maxFile:
		return fmt.Errorf("%w: it is larger than %d bytes", ErrUnsupported, maxFile)
	}
	return nil
}

// formless tells what a file without a block of the kind that is needed is.
func formless(data []byte) error {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 4 && trimmed[0] == 0x30 {
		var v asn1.RawValue
		if _, err := asn1.Unmarshal(data, &v); err == nil {
			return ErrDER
		}
	}
	return ErrGarbage
}

func isCertBlock(t string) bool {
	return t == "CERTIFICATE" || t == "X509 CERTIFICATE" || t == "TRUSTED CERTIFICATE"
}

// isKeyBlock: the labels that PEM_read_bio_PrivateKey(3) looks for.
func isKeyBlock(t string) bool {
	switch t {
	case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY":
		return true
	}
	return false
}

func keyForm(b block) (form string, encrypted bool) {
	encrypted = b.label == "ENCRYPTED PRIVATE KEY" || b.encrypted()
	switch b.label {
	case "RSA PRIVATE KEY":
		return "PKCS#1", encrypted
	case "EC PRIVATE KEY":
		return "SEC1", encrypted
	}
	return "PKCS#8", encrypted
}

func parseKeyBlock(b block) (crypto.Signer, error) {
	if _, enc := keyForm(b); enc {
		return nil, ErrEncrypted
	}
	if b.headerFault() != nil {
		return nil, fmt.Errorf("%w: a header or a blank line stands within the %s block", ErrGarbage, b.label)
	}
	var key any
	var err error
	switch b.label {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.der)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.der)
	}
	if err != nil && b.label != "PRIVATE KEY" { // OpenSSL takes PKCS#8 under these labels too
		if pkcs8, e := x509.ParsePKCS8PrivateKey(b.der); e == nil {
			key, err = pkcs8, nil
		}
	}
	if err != nil { // err may quote key material: its text is not passed on
		if b.label == "PRIVATE KEY" && !isPKCS8(b.der) {
			return nil, fmt.Errorf("%w: its %s block holds no PKCS#8", ErrGarbage, b.label)
		}
		return nil, fmt.Errorf("%w: its %s block cannot be parsed", why(b.der), b.label)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		if err := ownPoint(b, k); err != nil {
			return nil, fmt.Errorf("%w: the public part of its %s block is not that of the private part", err, b.label)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	case *ecdh.PrivateKey:
		return nil, errSignsNothing
	}
	return nil, ErrUnsupported
}

// ownPoint says what OpenSSL has against the form of an EC key (RFC 5915) that
// crypto/x509 takes: it computes the public part anew and passes over what stands
// behind it, OpenSSL takes the one in the file, where there is one.
func ownPoint(b block, k *ecdsa.PrivateKey) error {
	der := b.der
	var outer struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if _, err := asn1.Unmarshal(der, &outer); err == nil {
		der = outer.Key
	}
	var parts []asn1.RawValue
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		return ErrGarbage
	}
	want := 0 // the next context tag
	for i, p := range parts {
		switch {
		case i < 2:
			continue
		case p.Class != asn1.ClassContextSpecific || p.Tag < want || p.Tag > 1:
			return ErrGarbage
		}
		want = p.Tag + 1
		var point asn1.BitString
		if p.Tag == 0 {
			continue
		} else if _, err := asn1.Unmarshal(p.Bytes, &point); err != nil {
			return ErrGarbage
		}
		if len(point.Bytes) == 0 || point.Bytes[0] != 4 { // compressed
			return nil
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(k.Curve, point.Bytes)
		switch {
		case err != nil:
			return ErrGarbage
		case !pub.Equal(&k.PublicKey):
			return ErrUnsupported
		}
	}
	return nil
}

// isPKCS8 says that the outer form is that of PrivateKeyInfo (RFC 5958).
func isPKCS8(der []byte) bool {
	var p struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return true // broken is another matter
	}
	rest, err := asn1.Unmarshal(v.Bytes, &p.Version)
	if err != nil {
		return false
	}
	if rest, err = asn1.Unmarshal(rest, &p.Algorithm); err != nil {
		return false
	}
	_, err = asn1.Unmarshal(rest, &p.Key)
	return err == nil
}
