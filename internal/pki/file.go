package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// Errors of key and certificate files. Test with errors.Is.
var (
	ErrEmpty   = errors.New("is empty")
	ErrGarbage = errors.New("contains no certificate or key in PEM")
	// whole, but of the wrong form: ErrGarbage as well
	ErrRefused   = errors.New("contains a block that OpenSSL does not read as a certificate")
	ErrTruncated = errors.New("is truncated")
	ErrDER       = errors.New("is in DER format, and PEM is needed")
	ErrEncrypted = errors.New(
		"is encrypted with a passphrase, and sendmail cannot ask for it: `openssl pkey -in FILE -out FILE.pem` " +
			"writes a copy without a passphrase")
	ErrUnsupported = errors.New("is well-formed, but mailcertd cannot read this form")
)

// maxFile bounds a file that is parsed, in octets.
const maxFile = 16 << 20

// CertFile is the content of a certificate file or bundle.
type CertFile struct {
	// Certs are in the order of the file, also those that crypto/x509 refuses, see ParseCertificate.
	Certs   []*x509.Certificate
	Refused int // certificates in whole blocks that OpenSSL refuses; Err is ErrRefused then
	Passed  int // certificates in a form that mailcertd cannot parse; Err is ErrUnsupported then
	// Err says why OpenSSL cannot load the file, or that this is not known (ErrUnsupported). Certs has those that could
	// be parsed.
	Err error
	// Behind is the fault of the part after the first certificate, in a file of which OpenSSL loads only that one
	// (ReadLeafFile); nil: there is none.
	Behind error
	// Marked says that the file begins with a byte-order mark, which OpenSSL accepts only since 3.0.
	Marked bool
	// Before is the text before the first block of a file that ReadLeafFile has read, which OpenSSL skips; "" for none,
	// and for one of more than maxBefore octets.
	Before string

	Lists int // how many CRLs the file has
}

// ReadCertFile reads every certificate of a PEM file as SSL_CTX_load_verify_locations(3) does for sendmail's
// CACertFile: one broken block makes the whole file unusable.
func ReadCertFile(data []byte) CertFile {
	var f CertFile
	if f.Err = unread(data); f.Err != nil {
		return f
	}
	f.Marked = bytes.HasPrefix(data, byteMark)
	f.rest(data, 0)
	if len(f.Certs) == 0 && f.Passed == 0 && f.Lists > 0 && f.Err == nil {
		f.Err = fmt.Errorf("%w: it contains CRLs and no certificate", ErrUnsupported) // OpenSSL loads them
		return f
	}
	if len(f.Certs) == 0 && f.Passed == 0 && f.Err == nil {
		f.Err = formless(data)
	}
	return f
}

// maxBefore bounds CertFile.Before.
const maxBefore = 1024

// ReadLeafFile reads a PEM file as SSL_CTX_use_certificate_file(3) does: it loads the first certificate, whatever
// follows. Certs also has the others that can be parsed.
func ReadLeafFile(data []byte) CertFile {
	var f CertFile
	if f.Err = unread(data); f.Err != nil {
		return f
	}
	f.Marked = bytes.HasPrefix(data, byteMark)
	if n := bytes.Index(data, []byte("-----BEGIN ")); n > 0 && n <= maxBefore {
		f.Before = string(data[:n])
	}
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

// rest reads from pos to the end, or to the first broken block.
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
			f.Err = fmt.Errorf("%w: there is a header or a blank line in a block", ErrGarbage)
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
		case strings.HasSuffix(b.label, " PRIVATE KEY") && !isKeyBlock(b.label):
			if _, err := x509.ParsePKCS8PrivateKey(b.der); err != nil && f.Err == nil {
				f.Err = fmt.Errorf("%w: it has a block with the name %.40q, which not every OpenSSL ignores",
					ErrUnsupported, b.label)
			}
			continue
		case b.label == "X509 CRL":
			switch err := parseCRLBlock(b); {
			case errors.Is(err, ErrUnsupported) && f.Err == nil:
				f.Err = fmt.Errorf("a CRL in it %w", err)
			case err != nil && !errors.Is(err, ErrUnsupported):
				f.Err = fmt.Errorf("a CRL in it: %w", err)
				return
			}
			f.Lists++
			continue
		case !isCertBlock(b.label):
			continue
		}
		c, err := parseCertBlock(b)
		switch {
		case errors.Is(err, ErrUnsupported):
			f.Passed++
			if f.Err == nil {
				f.Err = fmt.Errorf("certificate %d: %w", len(f.Certs)+f.Passed+f.Refused, err)
			}
		case errors.Is(err, ErrRefused):
			if f.Refused++; f.Refused == 1 {
				f.Err = fmt.Errorf("certificate %d: %w", len(f.Certs)+f.Passed+f.Refused, err)
			}
		case err != nil:
			f.Err = fmt.Errorf("certificate %d: %w", len(f.Certs)+f.Passed+f.Refused+1, err)
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
		return nil, fmt.Errorf("%w: there is a header or a blank line in a block", ErrGarbage)
	}
	c, err := ParseCertificate(b.der)
	if err == nil && b.label == "TRUSTED CERTIFICATE" && len(b.der) > len(c.Raw) {
		var aux []asn1.RawValue // X509_CERT_AUX
		if _, err := asn1.Unmarshal(b.der[len(c.Raw):], &aux); err != nil {
			return nil, fmt.Errorf("%w: its auxiliary data cannot be parsed", ErrGarbage)
		}
	}
	return c, err
}

// parseCRLBlock returns an error for a CRL that OpenSSL would refuse; it loads the CRLs of a bundle too.
func parseCRLBlock(b block) error {
	switch {
	case b.encrypted():
		return ErrEncrypted
	case b.headerFault() != nil:
		return fmt.Errorf("%w: there is a header or a blank line in a block", ErrGarbage)
	}
	var first asn1.RawValue // what follows the CRL is skipped
	if _, err := asn1.Unmarshal(b.der, &first); err == nil {
		if _, err = x509.ParseRevocationList(first.FullBytes); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: it cannot be parsed", why(b.der))
}

// why returns ErrUnsupported for well-formed DER that Go does not accept, otherwise ErrTruncated or ErrGarbage.
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

// wellFormed says whether der is a series of well-formed DER values, nested at most sixteen deep.
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

// unread returns an error where the file is empty or too large to be searched for blocks.
func unread(data []byte) error {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return ErrEmpty
	case len(data) > maxFile:
		return fmt.Errorf("%w: it is larger than %d bytes", ErrUnsupported, maxFile)
	}
	return nil
}

// formError is ErrGarbage or ErrDER with the form that the file has. ConversionOf tells what to do about it.
type formError struct {
	error
	form Form // of a file with the name aFile
}

func (e formError) Error() string { return e.error.Error() + ": it is " + e.form.Name }
func (e formError) Unwrap() error { return e.error }

// formless is the error for a file without a block of the kind that is needed.
func formless(data []byte) error {
	err := ErrGarbage
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) > 4 && trimmed[0] == 0x30 {
		var v asn1.RawValue
		if _, e := asn1.Unmarshal(data, &v); e == nil {
			err = ErrDER
		}
	}
	if form := FormOf(data, ""); form.Name != "" {
		return formError{err, form}
	}
	return err
}

func isCertBlock(t string) bool {
	return t == "CERTIFICATE" || t == "X509 CERTIFICATE" || t == "TRUSTED CERTIFICATE"
}
