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
)

// errSignsNothing is for an X25519 key, which OpenSSL calls an unknown certificate type.
var errSignsNothing = fmt.Errorf("%w: it is an X25519 key, which cannot sign", ErrGarbage)

// KeyFile describes a private key file. It has no secret, so it may be kept, compared and printed.
type KeyFile struct {
	Public    crypto.PublicKey // nil where Err is set
	Type      KeyType
	Form      string // PKCS#8, PKCS#1, SEC1
	Encrypted bool
	Keys      int   // key blocks in the file
	Certs     int   // certificates in the file
	Err       error // why the key cannot be used; nil where it can
}

// ReadKeyFile reads a key file as SSL_CTX_use_PrivateKey_file(3) does: it uses the first key block, and skips whole
// blocks of other kinds before it. Err is ErrUnsupported for what only some releases of OpenSSL load.
func ReadKeyFile(data []byte) KeyFile {
	f, key := readKeyFile(data)
	if f.Err == nil {
		f.Public = key.Public()
		f.Type = TypeOf(f.Public)
	}
	return f
}

// ParseKey returns the private key itself, by the same rules.
func ParseKey(data []byte) (crypto.Signer, error) {
	f, key := readKeyFile(data)
	return key, f.Err
}

// readKeyFile is readKey for files that may contain NUL characters. OpenSSL 3 looks for a key after a NUL; earlier
// releases do not.
func readKeyFile(data []byte) (KeyFile, crypto.Signer) {
	f, key := readKey(data)
	if bytes.IndexByte(data, 0) < 0 || f.Err == nil || errors.Is(f.Err, ErrDER) {
		return f, key
	}
	if utf16Text(data) {
		return f, nil
	}
	if g, behind := readKey(bytes.ReplaceAll(data, []byte{0}, nil)); behind != nil || g.Encrypted {
		f.Err = fmt.Errorf("%w: there is a NUL character before the key, which not every OpenSSL ignores",
			ErrUnsupported)
	}
	return f, nil
}

// utf16Text says whether data has no PEM line that OpenSSL would find, as in UTF-16, where every character has a NUL
// beside it.
func utf16Text(data []byte) bool { return !bytes.Contains(data, pemBegin) }

func readKey(data []byte) (f KeyFile, key crypto.Signer) {
	if f.Err = unread(data); f.Err != nil {
		return f, nil
	}
	f.Err = formless(data)
	broken, behind := false, false // a broken block before the key; a good key after a bad one
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			switch {
			case broken && f.Keys == 0:
				f.Err = ErrTruncated
			case broken && f.Err == nil, f.Err != nil && behind && !f.Encrypted:
				// OpenSSL 3 looks for a key that it can read; earlier releases use the first block.
				f.Err, key = fmt.Errorf("%w: there is a broken block before the key, which not every OpenSSL ignores",
					ErrUnsupported), nil
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

// StripCertificates returns a key file without everything that is not a key: key blocks and EC PARAMETERS stay byte for
// byte.
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

// HoldsKey reports whether a PEM file, such as one for certificates, contains a private key without a passphrase.
func HoldsKey(data []byte) bool {
	for pos := 0; bytes.Contains(data, []byte("PRIVATE KEY-----")); {
		b, next, err := nextBlock(data, pos)
		pos = next
		switch {
		case errors.Is(err, errNoStart):
			return false
		case err == nil && isKeyBlock(b.label):
			if _, encrypted := keyForm(b); !encrypted {
				return true
			}
		}
	}
	return false
}

// isKeyBlock says whether PEM_read_bio_PrivateKey(3) accepts this label.
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

// shortHeader is the longest header of a key, in octets with line ends, that OpenSSL 3 ignores
// (providers/.../decode_pem2der.c).
const shortHeader = 10

func parseKeyBlock(b block) (crypto.Signer, error) {
	if _, enc := keyForm(b); enc {
		return nil, ErrEncrypted
	}
	if b.headerFault() != nil {
		if len(b.header) <= shortHeader { // check the block without it
			b.header = nil
			if _, err := parseKeyBlock(b); err == nil || errors.Is(err, ErrUnsupported) {
				return nil,
					fmt.Errorf(
						"%w: there are a line that is not a header and a blank line in the %s block, which not every "+
							"OpenSSL ignores", ErrUnsupported, b.label)
			}
		}
		return nil, fmt.Errorf("%w: there is a header or a blank line in the %s block", ErrGarbage, b.label)
	}
	var key any
	var err error
	switch b.label {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.der)
	case "DSA PRIVATE KEY":
		err = ErrUnsupported // no such key is read here; below it is seen whether another kind is in it
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.der)
	}
	if err != nil && b.label != "PRIVATE KEY" { // OpenSSL takes PKCS#8 under these labels too
		if pkcs8, e := x509.ParsePKCS8PrivateKey(b.der); e == nil {
			if !labelled(b.label, pkcs8) {
				return nil,
					fmt.Errorf("%w: its %s block contains a key of another kind, which not every OpenSSL accepts",
						ErrUnsupported, b.label)
			}
			key, err = pkcs8, nil
		}
	}
	if err != nil { // err may quote key material: its text is not passed on
		if b.label == "PRIVATE KEY" && !isPKCS8(b.der) {
			return nil, fmt.Errorf("%w: its %s block does not contain PKCS#8", ErrGarbage, b.label)
		}
		if b.label == "RSA PRIVATE KEY" && ofEC(b.der) || b.label == "EC PRIVATE KEY" && ofRSA(b.der) {
			return nil, fmt.Errorf("%w: its %s block contains a key of another kind", ErrGarbage, b.label)
		}
		return nil, fmt.Errorf("%w: its %s block cannot be parsed", why(b.der), b.label)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		if err := ownPoint(b, k); err != nil {
			return nil, fmt.Errorf("%w: the public part of its %s block does not belong to the private part",
				err, b.label)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	case *ecdh.PrivateKey:
		return nil, errSignsNothing
	}
	return nil, ErrUnsupported
}

// labelled says whether a key in PKCS#8 is of the kind that its label names. ENCRYPTED PRIVATE KEY and PRIVATE KEY name
// none.
func labelled(label string, key any) bool {
	switch key.(type) {
	case *rsa.PrivateKey:
		return label != "EC PRIVATE KEY" && label != "DSA PRIVATE KEY"
	case *ecdsa.PrivateKey:
		return label != "RSA PRIVATE KEY" && label != "DSA PRIVATE KEY"
	}
	return label != "RSA PRIVATE KEY" && label != "EC PRIVATE KEY" && label != "DSA PRIVATE KEY"
}

// ofEC and ofRSA say whether der is a key in SEC1 or in PKCS#1.
func ofEC(der []byte) bool  { _, err := x509.ParseECPrivateKey(der); return err == nil }
func ofRSA(der []byte) bool { _, err := x509.ParsePKCS1PrivateKey(der); return err == nil }

// ownPoint returns an error for an EC key (RFC 5915) that crypto/x509 accepts and OpenSSL may not: crypto/x509 computes
// the public part and ignores what follows it, but OpenSSL uses the public part of the file where there is one.
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
		if len(point.Bytes) == 0 || point.Bytes[0] != 4 { // a compressed point is not compared
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

// isPKCS8 says whether der has the outer form of PrivateKeyInfo (RFC 5958); also true for DER that is broken.
func isPKCS8(der []byte) bool {
	var p struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return true // the caller reports broken DER differently
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
