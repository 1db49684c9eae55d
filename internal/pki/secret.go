package pki

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/crypto/scrypt"
)

// ErrPassphrase says that a key is encrypted with another passphrase.
var ErrPassphrase = errors.New("the passphrase is wrong")

// Bounds of the work that a key file may ask for, and what Encrypt writes.
const (
	maxIterations = 10_000_000
	maxScrypt     = 256 << 20 // bytes of memory: 128·N·r
	iterations    = 600_000   // of PBKDF2 with HMAC-SHA-256
	saltSize      = 16
)

// Decrypt reads a private key that has a passphrase: PKCS#8 with PBES2 (RFC
// 8018; PBKDF2 or scrypt, AES-CBC or DES-EDE3-CBC), as openssl 1.1.1 and 3
// write it, or the older PEM encryption (`Proc-Type: 4,ENCRYPTED`). A key
// without encryption is read as it is. ErrPassphrase: another passphrase.
func Decrypt(data, passphrase []byte) (crypto.Signer, error) {
	if err := shape(data, isKeyBlock); err != nil {
		return nil, err
	}
	var key crypto.Signer
	err := error(ErrGarbage)
	first := true
	eachBlock(data, func(b *pem.Block) {
		if !first || !isKeyBlock(b.Type) {
			return
		}
		first = false
		if _, enc := keyForm(b); !enc {
			key, err = parseKeyBlock(b)
			return
		}
		var der []byte
		if b.Type == "ENCRYPTED PRIVATE KEY" {
			der, err = openPBES2(b.Bytes, passphrase)
		} else {
			der, err = openPEM(b, passphrase)
		}
		if err != nil {
			return
		}
		plain := &pem.Block{Type: "PRIVATE KEY", Bytes: der}
		if b.Type != "ENCRYPTED PRIVATE KEY" {
			plain.Type = b.Type
		}
		if key, err = parseKeyBlock(plain); err != nil && !errors.Is(err, ErrUnsupported) {
			err = ErrPassphrase // the padding was right by chance: one in 256
		}
	})
	return key, err
}

func openPEM(b *pem.Block, passphrase []byte) ([]byte, error) {
	der, err := x509.DecryptPEMBlock(b, passphrase) //nolint:staticcheck // such files exist; none is written
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrPassphrase
	case err != nil:
		return nil, fmt.Errorf("%w: its DEK-Info", ErrUnsupported)
	}
	return der, nil
}

// The object identifiers of RFC 8018 appendix C and RFC 7914 section 7.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// hashes are the HMACs that PBKDF2 may use.
var hashes = map[string]func() hash.Hash{
	"1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.8": sha256.New224, "1.2.840.113549.2.9": sha256.New,
	"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
}

// ciphers are the CBC ciphers with their key sizes in bytes.
var ciphers = map[string]struct {
	size int
	make func([]byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2": {16, aes.NewCipher}, "2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher}, "1.2.840.113549.3.7": {24, des.NewTripleDESCipher},
}

type encryptedKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct{ KDF, Cipher pkix.AlgorithmIdentifier }

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt      []byte
	N, R, P   int
	KeyLength int `asn1:"optional"`
}

func whole(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}

func openPBES2(der, passphrase []byte) ([]byte, error) {
	var info encryptedKeyInfo
	if !whole(der, &info) {
		return nil, fmt.Errorf("%w: its encrypted block", ErrTruncated)
	}
	var params pbes2Params
	if !info.Algorithm.Algorithm.Equal(oidPBES2) || !whole(info.Algorithm.Parameters.FullBytes, &params) {
		return nil, fmt.Errorf("%w: its encryption is not PBES2; `openssl pkcs8 -topk8` writes it anew", ErrUnsupported)
	}
	c, known := ciphers[params.Cipher.Algorithm.String()]
	if !known {
		return nil, fmt.Errorf("%w: its cipher is %s", ErrUnsupported, params.Cipher.Algorithm)
	}
	key, err := deriveKey(params.KDF, passphrase, c.size)
	if err != nil {
		return nil, err
	}
	block, err := c.make(key)
	if err != nil {
		return nil, err
	}
	var iv []byte
	size := block.BlockSize()
	if !whole(params.Cipher.Parameters.FullBytes, &iv) || len(iv) != size || len(info.Data) == 0 || len(info.Data)%size != 0 {
		return nil, fmt.Errorf("%w: its encrypted block", ErrTruncated)
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > size || subtle.ConstantTimeCompare(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) != 1 {
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-pad], nil
}

func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int) ([]byte, error) {
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Params
		if !whole(kdf.Parameters.FullBytes, &p) || p.Iterations < 1 || p.KeyLength != 0 && p.KeyLength != size {
			return nil, fmt.Errorf("%w: its key derivation", ErrUnsupported)
		}
		if p.Iterations > maxIterations {
			return nil, fmt.Errorf("%w: %d iterations of PBKDF2, at most %d are done", ErrUnsupported, p.Iterations, maxIterations)
		}
		h := hashes["1.2.840.113549.2.7"] // the default is HMAC-SHA-1
		if len(p.PRF.Algorithm) > 0 {
			if h = hashes[p.PRF.Algorithm.String()]; h == nil {
				return nil, fmt.Errorf("%w: its key derivation uses %s", ErrUnsupported, p.PRF.Algorithm)
			}
		}
		return pbkdf2.Key(h, string(passphrase), p.Salt, p.Iterations, size)
	case kdf.Algorithm.Equal(oidScrypt):
		var p scryptParams
		if !whole(kdf.Parameters.FullBytes, &p) || p.N < 2 || p.R < 1 || p.P < 1 || p.KeyLength != 0 && p.KeyLength != size {
			return nil, fmt.Errorf("%w: its key derivation", ErrUnsupported)
		}
		if p.R > maxScrypt || p.P > 64 || p.N > maxScrypt/128/p.R {
			return nil, fmt.Errorf("%w: scrypt with more than %d MiB of memory", ErrUnsupported, maxScrypt>>20)
		}
		key, err := scrypt.Key(passphrase, p.Salt, p.N, p.R, p.P, size)
		if err != nil {
			return nil, fmt.Errorf("%w: its key derivation", ErrUnsupported)
		}
		return key, nil
	}
	return nil, fmt.Errorf("%w: its key derivation is %s", ErrUnsupported, kdf.Algorithm)
}

// Encrypt encodes a private key with a passphrase as a PKCS#8 PEM block that
// openssl since 1.0 reads: PBES2 with PBKDF2-HMAC-SHA-256, 600,000 iterations,
// and AES-256-CBC.
func Encrypt(key crypto.Signer, passphrase []byte, rand io.Reader) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("an empty passphrase")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	random := make([]byte, saltSize+aes.BlockSize)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, err
	}
	salt, iv := random[:saltSize], random[saltSize:]
	secret, err := pbkdf2.Key(sha256.New, string(passphrase), salt, iterations, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	der = append(der, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(der, der)
	kdf, err := asn1.Marshal(pbkdf2Params{Salt: salt, Iterations: iterations, PRF: pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}})
	if err != nil {
		return nil, err
	}
	ivDER, err := asn1.Marshal(iv)
	if err != nil {
		return nil, err
	}
	params, err := asn1.Marshal(pbes2Params{
		KDF:    pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: kdf}},
		Cipher: pkix.AlgorithmIdentifier{Algorithm: oidAES256, Parameters: asn1.RawValue{FullBytes: ivDER}},
	})
	if err != nil {
		return nil, err
	}
	out, err := asn1.Marshal(encryptedKeyInfo{Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: asn1.RawValue{FullBytes: params}}, Data: der})
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: out}), nil
}
