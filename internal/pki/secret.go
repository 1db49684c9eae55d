package pki

import (
	"bytes"
	"crypto"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/youmark/pkcs8"
)

// ErrPassphrase says that a key could not be decrypted with the passphrase. A damaged file gives the same error. Test
// with errors.Is.
var ErrPassphrase = errors.New("the passphrase is wrong")

// The parameters of Encrypt: the iterations of OWASP's password storage cheat sheet for PBKDF2-HMAC-SHA256; RFC 8018
// section 4 asks for a salt of at least eight octets and at least 1000 iterations.
const (
	encryptIterations = 600_000
	encryptSalt       = 16 // octets
)

// effort bounds the work that a key file may ask for. It is checked before anything is computed.
type effort struct {
	iterations int   // PBKDF2
	memory     int64 // scrypt, octets
	parallel   int   // scrypt: how often the memory is filled, one after the other
}

// maxEffort is about ten seconds of one core; openssl's own defaults are 2048 iterations, and 16 MiB once.
var maxEffort = effort{iterations: 10_000_000, memory: 256 << 20, parallel: 16}

// The structures of RFC 5958 section 3 and RFC 8018 appendix A.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Parameters struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Parameters struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"` // octets
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"` // HMAC-SHA1 when absent
}

// scryptParameters is RFC 7914 section 7.
type scryptParameters struct {
	Salt                  []byte
	Cost, Block, Parallel int
	KeyLength             int `asn1:"optional"` // octets
}

var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidHMACSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
)

// prfs are the pseudo-random functions of RFC 8018 appendix B.1.2.
var prfs = map[string]func() hash.Hash{
	oidHMACSHA1.String():   sha1.New,
	"1.2.840.113549.2.8":   sha256.New224,
	oidHMACSHA256.String(): sha256.New,
	"1.2.840.113549.2.10":  sha512.New384,
	"1.2.840.113549.2.11":  sha512.New,
	"1.2.840.113549.2.12":  sha512.New512_224,
	"1.2.840.113549.2.13":  sha512.New512_256,
}

// schemes are the encryption schemes of RFC 8018 appendix B.2 in CBC mode, with the padding of section 6.1.1.
var schemes = map[string]pkcs8.Cipher{
	pkcs8.TripleDESCBC.OID().String(): pkcs8.TripleDESCBC,
	pkcs8.AES128CBC.OID().String():    pkcs8.AES128CBC,
	pkcs8.AES192CBC.OID().String():    pkcs8.AES192CBC,
	pkcs8.AES256CBC.OID().String():    pkcs8.AES256CBC,
}

// Decrypt returns the private key of a PEM file that may be encrypted. The first key block counts, as in ParseKey. It
// accepts PKCS#8 with PBES2 (RFC 8018 section 6.2: PBKDF2 or scrypt, AES-CBC or DES-EDE3-CBC) and the older encrypted
// PEM of RFC 1421 section 4.6.1.1. For a key that is not encrypted it ignores the passphrase. Errors: ErrPassphrase;
// ErrUnsupported, also for more than 10 million PBKDF2 iterations, or 256 MiB or 16 rounds of scrypt; those of
// ParseKey. No error quotes the content of the file.
func Decrypt(data, passphrase []byte) (crypto.Signer, error) {
	return decrypt(data, passphrase, maxEffort)
}

func decrypt(data, passphrase []byte, max effort) (crypto.Signer, error) {
	f, key := readKey(data)
	if !f.Encrypted {
		return key, f.Err
	}
	b := firstKey(data)
	if b.label == "ENCRYPTED PRIVATE KEY" {
		der, err := decryptPBES2(b.der, passphrase, max)
		if err != nil {
			return nil, err
		}
		return decrypted("PRIVATE KEY", der)
	}
	p, _ := pem.Decode(data[b.start:b.end])
	if p == nil {
		return nil, fmt.Errorf("%w: its PEM headers", ErrUnsupported)
	}
	//lint:ignore SA1019 openssl still writes this form with -traditional
	der, err := x509.DecryptPEMBlock(p, passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrPassphrase
	case err != nil:
		return nil, fmt.Errorf("%w: the encryption that its PEM headers name", ErrUnsupported)
	}
	return decrypted(b.label, der)
}

// firstKey is the first key block; the zero block where there is none.
func firstKey(data []byte) block {
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		pos = next
		if errors.Is(err, errNoStart) {
			return block{}
		}
		if err == nil && isKeyBlock(b.label) {
			return b
		}
	}
}

// decrypted parses the decrypted DER. With a wrong passphrase, about one in 256 results has valid padding, but the
// content is not well-formed, so the error is ErrPassphrase too.
func decrypted(label string, der []byte) (crypto.Signer, error) {
	key, err := parseKeyBlock(block{label: label, der: der})
	if err != nil && !errors.Is(err, ErrUnsupported) && !errors.Is(err, errSignsNothing) {
		return nil, ErrPassphrase
	}
	return key, err
}

func decryptPBES2(der, passphrase []byte, max effort) ([]byte, error) {
	var e encryptedKey
	if err := exactly(der, &e); err != nil {
		return nil, fmt.Errorf("%w: its ENCRYPTED PRIVATE KEY block cannot be parsed", why(der))
	}
	if !e.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("%w: encryption %s, must be PBES2 (openssl pkcs8 -topk8 writes it)", ErrUnsupported,
			e.Algorithm.Algorithm)
	}
	var p pbes2Parameters
	if err := exactly(e.Algorithm.Parameters.FullBytes, &p); err != nil {
		return nil, fmt.Errorf("%w: its PBES2 parameters cannot be parsed", ErrGarbage)
	}
	scheme, ok := schemes[p.Cipher.Algorithm.String()]
	if !ok {
		return nil, fmt.Errorf("%w: cipher %s, must be AES-CBC or DES-EDE3-CBC", ErrUnsupported, p.Cipher.Algorithm)
	}
	// For these ciphers the block is as long as the initialization vector.
	block := scheme.IVSize()
	var iv []byte
	if err := exactly(p.Cipher.Parameters.FullBytes, &iv); err != nil || len(iv) != block {
		return nil, fmt.Errorf("%w: its initialization vector, must be %d octets", ErrGarbage, block)
	}
	if len(e.Data) == 0 || len(e.Data)%block != 0 {
		return nil, fmt.Errorf("%w: %d encrypted octets, must be a multiple of %d", ErrGarbage, len(e.Data), block)
	}
	key, err := deriveKey(p.KDF, passphrase, scheme.KeySize(), max)
	if err != nil {
		return nil, err
	}
	out, err := scheme.Decrypt(key, iv, e.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: its cipher", ErrUnsupported)
	}
	pad := int(out[len(out)-1])
	if pad == 0 || pad > block || !bytes.Equal(out[len(out)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, ErrPassphrase
	}
	return out[:len(out)-pad], nil
}

// deriveKey derives a key of size octets, if the work is within max.
func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int, max effort) ([]byte, error) {
	length := func(n int) error {
		if n != 0 && n != size {
			return fmt.Errorf("%w: a derived key of %d octets, must be %d", ErrUnsupported, n, size)
		}
		return nil
	}
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Parameters
		if err := exactly(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, fmt.Errorf("%w: its PBKDF2 parameters cannot be parsed", ErrGarbage)
		}
		if len(p.PRF.Algorithm) == 0 {
			p.PRF.Algorithm = oidHMACSHA1
		}
		prf, ok := prfs[p.PRF.Algorithm.String()]
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: PBKDF2 with %s, must be HMAC with SHA-1 or SHA-2", ErrUnsupported,
				p.PRF.Algorithm)
		case p.Iterations < 1 || p.Iterations > max.iterations:
			return nil, fmt.Errorf("%w: %d PBKDF2 iterations, must be 1 to %d", ErrUnsupported, p.Iterations,
				max.iterations)
		}
		if err := length(p.KeyLength); err != nil {
			return nil, err
		}
		key, err := pbkdf2.Key(prf, string(passphrase), p.Salt, p.Iterations, size)
		if err != nil {
			return nil, fmt.Errorf("%w: PBKDF2: %s", ErrUnsupported, err)
		}
		return key, nil
	case kdf.Algorithm.Equal(oidScrypt):
		var p scryptParameters
		if err := exactly(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, fmt.Errorf("%w: its scrypt parameters cannot be parsed", ErrGarbage)
		}
		// Each factor is bounded first, so that the product cannot overflow.
		each := max.memory / 128
		switch n, r, par := int64(p.Cost), int64(p.Block), int64(p.Parallel); {
		case n < 2 || n&(n-1) != 0 || r < 1 || par < 1:
			return nil, fmt.Errorf("%w: scrypt with N %d, r %d, p %d", ErrUnsupported, n, r, par)
		case par > int64(max.parallel):
			return nil, fmt.Errorf("%w: scrypt with p %d, must be 1 to %d", ErrUnsupported, par, max.parallel)
		case n > each || r > each || n*r+par*r > each:
			return nil, fmt.Errorf("%w: scrypt with N %d, r %d, p %d, may use at most %d MiB of memory",
				ErrUnsupported, n,
				r, par, max.memory>>20)
		}
		if err := length(p.KeyLength); err != nil {
			return nil, err
		}
		key, _, err := pkcs8.ScryptOpts{CostParameter: p.Cost, BlockSize: p.Block,
			ParallelizationParameter: p.Parallel}.DeriveKey(passphrase, p.Salt, size)
		if err != nil {
			return nil, fmt.Errorf("%w: scrypt: %s", ErrUnsupported, err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%w: key derivation %s, must be PBKDF2 or scrypt", ErrUnsupported, kdf.Algorithm)
}

// exactly is asn1.Unmarshal, and an error where data follows the value.
func exactly(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) != 0 {
		err = errors.New("trailing data")
	}
	return err
}

// Encrypt returns a private key as an ENCRYPTED PRIVATE KEY block that openssl 1.1.1 and later can read: PBES2 of RFC
// 8018 section 6.2 with PBKDF2-HMAC-SHA256 and AES-256-CBC. Salt and initialization vector come from rand. An empty
// passphrase is an error.
func Encrypt(key crypto.Signer, passphrase []byte, rand io.Reader) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	scheme := pkcs8.AES256CBC
	random := make([]byte, encryptSalt+scheme.IVSize())
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, err
	}
	salt, iv := random[:encryptSalt], random[encryptSalt:]
	secret, err := pbkdf2.Key(sha256.New, string(passphrase), salt, encryptIterations, scheme.KeySize())
	if err != nil {
		return nil, err
	}
	data, err := scheme.Encrypt(secret, iv, plain)
	if err != nil {
		return nil, err
	}
	var p pbes2Parameters
	prf := pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue}
	if p.KDF, err = algorithm(oidPBKDF2, pbkdf2Parameters{Salt: salt, Iterations: encryptIterations,
		PRF: prf}); err != nil {
		return nil, err
	}
	if p.Cipher, err = algorithm(scheme.OID(), iv); err != nil {
		return nil, err
	}
	e := encryptedKey{Data: data}
	if e.Algorithm, err = algorithm(oidPBES2, p); err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(e)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}

func algorithm(oid asn1.ObjectIdentifier, parameters any) (pkix.AlgorithmIdentifier, error) {
	der, err := asn1.Marshal(parameters)
	return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: der}}, err
}
