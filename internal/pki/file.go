package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
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

// ReadKeyFile reads a key file as PEM_read_bio_PrivateKey(3) does: the first
// key block counts, other blocks before it are passed over.
func ReadKeyFile(data []byte) KeyFile {
	var f KeyFile
	var signer crypto.Signer
	err := shape(data, isKeyBlock)
	if err == nil {
		eachBlock(data, func(b *pem.Block) {
			switch {
			case isCertBlock(b.Type):
				f.Certs++
			case isKeyBlock(b.Type):
				if f.Keys++; f.Keys == 1 {
					f.Form, f.Encrypted = keyForm(b)
					signer, err = parseKeyBlock(b)
				}
			}
		})
	}
	if err == nil && signer == nil {
		err = ErrGarbage
	}
	if err != nil {
		f.Err = err
		return f
	}
	f.Public = signer.Public()
	f.Type = TypeOf(f.Public)
	return f
}

// ParseKey is the private key itself, by the same rules.
func ParseKey(data []byte) (crypto.Signer, error) {
	if err := shape(data, isKeyBlock); err != nil {
		return nil, err
	}
	var key crypto.Signer
	err := error(ErrGarbage)
	first := true
	eachBlock(data, func(b *pem.Block) {
		if first && isKeyBlock(b.Type) {
			first = false
			key, err = parseKeyBlock(b)
		}
	})
	return key, err
}

// StripCertificates is a key file without what is not a key: every key block
// (and EC PARAMETERS) stays byte for byte, everything else goes.
func StripCertificates(data []byte) []byte {
	var out []byte
	rest := data
	for {
		start := bytes.Index(rest, []byte("-----BEGIN "))
		if start < 0 {
			return out
		}
		b, after := pem.Decode(rest[start:])
		if b == nil {
			return out
		}
		raw := rest[start : len(rest)-len(after)]
		if isKeyBlock(b.Type) || b.Type == "EC PARAMETERS" {
			// pem.Decode may have passed over a broken block before this one.
			if i := bytes.LastIndex(raw, []byte("-----BEGIN "+b.Type)); i >= 0 {
				raw = raw[i:]
			}
			out = append(out, bytes.TrimRight(raw, "\r\n")...)
			out = append(out, '\n')
		}
		rest = after
	}
}

// CertFile is what a certificate file or bundle holds.
type CertFile struct {
	Certs []*x509.Certificate // in the order of the file
	// Err is set when no certificate could be read, or when a block is broken:
	// OpenSSL then fails the whole load. Certs holds what could be read before.
	Err error
}

// ReadCertFile reads every certificate of a PEM file. The first is the one
// that SSL_CTX_use_certificate_file(3) takes.
func ReadCertFile(data []byte) CertFile {
	var f CertFile
	if f.Err = shape(data, isCertBlock); f.Err != nil {
		return f
	}
	n := 0
	eachBlock(data, func(b *pem.Block) {
		if !isCertBlock(b.Type) || f.Err != nil {
			return
		}
		n++
		der := b.Bytes
		if b.Type == "TRUSTED CERTIFICATE" { // openssl's own: auxiliary data follows the certificate
			var c asn1.RawValue
			if _, err := asn1.Unmarshal(der, &c); err == nil {
				der = c.FullBytes
			}
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			f.Err = fmt.Errorf("certificate %d: %w: %s", n, why(der), err)
			return
		}
		f.Certs = append(f.Certs, c)
	})
	if f.Err == nil && len(f.Certs) == 0 {
		f.Err = ErrGarbage
	}
	return f
}

// why tells well-formed DER that Go does not take from what is broken.
func why(der []byte) error {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	var se asn1.SyntaxError
	switch {
	case err == nil && len(rest) == 0 && v.Tag == asn1.TagSequence && v.IsCompound && wellFormed(v.Bytes, 0):
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

// shape tells empty, DER, truncated and plain garbage apart, before any block
// is looked at.
func shape(data []byte, wanted func(string) bool) error {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || len(trimmed) == 0:
		return ErrEmpty
	case len(data) > maxFile:
		return fmt.Errorf("%w: it is larger than %d bytes", ErrUnsupported, maxFile)
	}
	found, broken := false, false
	rest := data
	for {
		i := bytes.Index(rest, []byte("-----BEGIN "))
		if i < 0 {
			break
		}
		rest = rest[i:]
		line := rest
		if nl := bytes.IndexByte(rest, '\n'); nl >= 0 {
			line = rest[:nl]
		}
		label := strings.TrimSuffix(strings.TrimSpace(string(line[len("-----BEGIN "):])), "-----")
		if b, after := pem.Decode(rest); b != nil && b.Type == label {
			found = found || wanted(label)
			rest = after
			continue
		}
		// OpenSSL stops at a block that it cannot read.
		if wanted(label) || !bytes.Contains(rest, []byte("-----END "+label)) {
			broken = true
		}
		rest = rest[len("-----BEGIN "):]
		if broken {
			break
		}
	}
	switch {
	case broken && !found:
		return ErrTruncated
	case broken:
		return fmt.Errorf("%w: a block after the first is broken", ErrTruncated)
	case found:
		return nil
	case len(trimmed) > 4 && trimmed[0] == 0x30:
		var v asn1.RawValue
		if _, err := asn1.Unmarshal(data, &v); err == nil {
			return ErrDER
		}
	}
	return ErrGarbage
}

func eachBlock(data []byte, f func(*pem.Block)) {
	for {
		b, rest := pem.Decode(data)
		if b == nil {
			return
		}
		f(b)
		data = rest
	}
}

func isCertBlock(t string) bool {
	return t == "CERTIFICATE" || t == "X509 CERTIFICATE" || t == "TRUSTED CERTIFICATE"
}

// isKeyBlock: the labels that PEM_read_bio_PrivateKey(3) looks for.
func isKeyBlock(t string) bool {
	return t == "PRIVATE KEY" || t == "ENCRYPTED PRIVATE KEY" || strings.HasSuffix(t, " PRIVATE KEY") && !strings.HasPrefix(t, "OPENSSH")
}

func keyForm(b *pem.Block) (form string, encrypted bool) {
	encrypted = b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED")
	switch b.Type {
	case "RSA PRIVATE KEY":
		return "PKCS#1", encrypted
	case "EC PRIVATE KEY":
		return "SEC1", encrypted
	}
	return "PKCS#8", encrypted
}

func parseKeyBlock(b *pem.Block) (crypto.Signer, error) {
	if _, enc := keyForm(b); enc {
		return nil, ErrEncrypted
	}
	var key any
	var err error
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil { // err may quote key material: its text is not passed on
		return nil, fmt.Errorf("%w: its %s block cannot be parsed", why(b.Bytes), b.Type)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, ErrUnsupported
}
