package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// sealed makes an ENCRYPTED PRIVATE KEY block with any parameters.
func sealed(t testing.TB, kdf asn1.ObjectIdentifier, kdfParameters any, data []byte) []byte {
	t.Helper()
	must := func(a pkix.AlgorithmIdentifier, err error) pkix.AlgorithmIdentifier {
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	p := pbes2Parameters{
		KDF:    must(algorithm(kdf, kdfParameters)),
		Cipher: must(algorithm(schemes["2.16.840.1.101.3.4.1.42"].OID(), make([]byte, 16))),
	}
	der, err := asn1.Marshal(encryptedKey{must(algorithm(oidPBES2, p)), data})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}

// Parameters that would take too long, or that make no sense, are refused at once, with the value and the limit.
func TestDecryptRefuses(t *testing.T) {
	salt, data := []byte("salt"), make([]byte, 32)
	sha512 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11},
		Parameters: asn1.NullRawValue}
	other := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 3}, Parameters: asn1.NullRawValue}
	pbkdf2 := func(n int) []byte { return sealed(t, oidPBKDF2, pbkdf2Parameters{salt, n, 0, sha512}, data) }
	scrypt := func(n, r, p int) []byte { return sealed(t, oidScrypt, scryptParameters{salt, n, r, p, 0}, data) }
	block := func(der ...byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
	}
	old := func(header string) []byte {
		return []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n" + header +
			"\nAAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n")
	}
	for name, c := range map[string]struct {
		data []byte
		err  error
		text string
	}{
		"iterations": {pbkdf2(10_000_001), ErrUnsupported,
			"10000001 PBKDF2 iterations, must be 1 to 10000000"},
		"most iterations":     {pbkdf2(math.MaxInt32), ErrUnsupported, "2147483647 PBKDF2 iterations"},
		"no iterations":       {pbkdf2(0), ErrUnsupported, "0 PBKDF2 iterations"},
		"negative iterations": {pbkdf2(-1), ErrUnsupported, "-1 PBKDF2 iterations"},
		"memory": {scrypt(1<<18, 8, 1), ErrUnsupported,
			"scrypt with N 262144, r 8, p 1, may use at most 256 MiB of memory"},
		"blocks":             {scrypt(2, math.MaxInt32, 1), ErrUnsupported, "may use at most 256 MiB"},
		"cost":               {scrypt(1<<30, 1, 1), ErrUnsupported, "may use at most 256 MiB"},
		"both":               {scrypt(1<<30, 1<<30, 1), ErrUnsupported, "may use at most 256 MiB"},
		"rounds":             {scrypt(16384, 8, 17), ErrUnsupported, "scrypt with p 17, must be 1 to 16"},
		"not a power of two": {scrypt(1000, 8, 1), ErrUnsupported, "scrypt with N 1000"},
		"negative blocks":    {scrypt(16384, -8, 1), ErrUnsupported, "scrypt with N 16384, r -8"},
		"key length": {sealed(t, oidPBKDF2, pbkdf2Parameters{salt, 1, 16, sha512}, data), ErrUnsupported,
			"a derived key of 16 octets, must be 32"},
		"key length, scrypt": {sealed(t, oidScrypt, scryptParameters{salt, 2, 1, 1, 64}, data), ErrUnsupported,
			"a derived key of 64 octets, must be 32"},
		"function": {sealed(t, oidPBKDF2, pbkdf2Parameters{salt, 1, 0, other}, data), ErrUnsupported,
			"PBKDF2 with 1.2.3, must be HMAC"},
		"derivation": {sealed(t, asn1.ObjectIdentifier{1, 2, 3}, 1, data), ErrUnsupported,
			"key derivation 1.2.3, must be PBKDF2 or scrypt"},
		"parameters":        {sealed(t, oidPBKDF2, 1, data), ErrGarbage, "PBKDF2 parameters cannot be parsed"},
		"scrypt parameters": {sealed(t, oidScrypt, 1, data), ErrGarbage, "scrypt parameters cannot be parsed"},
		"no data": {sealed(t, oidPBKDF2, pbkdf2Parameters{salt, 1, 0, sha512}, nil), ErrGarbage,
			"0 encrypted octets, must be a multiple of 16"},
		"odd data": {sealed(t, oidPBKDF2, pbkdf2Parameters{salt, 1, 0, sha512}, data[:31]), ErrGarbage,
			"31 encrypted octets"},
		"no structure":      {block(0x30, 0), ErrUnsupported, "cannot be parsed"},
		"half a structure":  {block(0x30, 9, 0x30), ErrTruncated, "cannot be parsed"},
		"old, no algorithm": {old(""), ErrUnsupported, "the encryption that its PEM headers name"},
		"old, other": {old("DEK-Info: RC2-CBC,0011223344556677\n"), ErrUnsupported,
			"the encryption that its PEM headers name"},
		"old, short vector": {old("DEK-Info: AES-128-CBC,0011\n"), ErrUnsupported,
			"the encryption that its PEM headers name"},
		"empty":  {nil, ErrEmpty, "is empty"},
		"no key": {[]byte("hello"), ErrGarbage, "in PEM"},
	} {
		start := time.Now()
		key, err := Decrypt(c.data, []byte("secret"))
		if key != nil || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: refused after %s", name, took)
		}
	}
}

// Encrypt refuses a key that is not a plain key, an empty passphrase, and a source of too few random bytes.
func TestEncrypt(t *testing.T) {
	key, err := GenerateKey(ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := MarshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, passphrase := range [][]byte{nil, []byte("x")} {
		if k, err := Decrypt(plain, passphrase); err != nil || !SamePublicKey(k.Public(), key.Public()) {
			t.Errorf("a plain key with %q: %v", passphrase, err)
		}
	}
	if data, err := Encrypt(key, nil, rand.Reader); data != nil || err == nil {
		t.Errorf("encrypted with nothing: %v", err)
	}
	if data, err := Encrypt(nil, []byte("x"), rand.Reader); data != nil || err == nil {
		t.Errorf("encrypted no key: %v", err)
	}
	if data, err := Encrypt(key, []byte("x"), strings.NewReader("short")); data != nil ||
		!errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("encrypted with too few random bytes: %v", err)
	}
	random := []byte(strings.Repeat("0123456789abcdef", 2))
	a, err := Encrypt(key, []byte("x"), bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Encrypt(key, []byte("x"), bytes.NewReader(random))
	if !bytes.Equal(a, b) || !bytes.HasSuffix(a, []byte("-----END ENCRYPTED PRIVATE KEY-----\n")) ||
		bytes.HasSuffix(a, []byte("\n\n")) {
		t.Errorf("%s%s", a, b)
	}
	if c, _ := Encrypt(key, []byte("x"), rand.Reader); bytes.Equal(a, c) {
		t.Error("two encryptions of the same key are equal")
	}
}

// Decrypt returns a key or a known reason, never both. It reads a key that is not encrypted as ParseKey does. The work
// stays within the limits.
func FuzzDecrypt(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, []byte("secret"))
	}
	key, err := GenerateKey(ECDSAP256, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := MarshalKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed(f, oidPBKDF2, pbkdf2Parameters{Salt: []byte("salt"), Iterations: 1}, make([]byte, 32)),
		[]byte("secret"))
	f.Add(sealed(f, oidScrypt, scryptParameters{[]byte("salt"), 2, 1, 1, 32}, make([]byte, 32)), []byte("secret"))
	openssltest.Need(f)
	for _, command := range []string{
		"pkcs8 -topk8 -iter 1", "pkcs8 -topk8 -iter 2 -v2 des3 -v2prf hmacWithSHA512",
		"pkcs8 -topk8 -scrypt -scrypt_N 2 -scrypt_r 1 -scrypt_p 1",
		"ec -des3", "ec -aes256",
	} {
		f.Add(openssl(f, plain, append(strings.Fields(command), "-passout", "pass:secret")...), []byte("secret"))
	}
	small := effort{iterations: 100, memory: 1 << 20, parallel: 2}
	f.Fuzz(func(t *testing.T, data, passphrase []byte) {
		start := time.Now()
		key, err := decrypt(data, passphrase, small)
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("took %s", took)
		}
		if (key == nil) == (err == nil) || !known(err) && !errors.Is(err, ErrPassphrase) {
			t.Fatalf("%v, %v", key, err)
		}
		plain, why := ParseKey(data)
		switch {
		case why == nil:
			if err != nil || !SamePublicKey(key.Public(), plain.Public()) {
				t.Fatalf("a plain key: %v", err)
			}
		case !errors.Is(why, ErrEncrypted):
			if !slices.ContainsFunc(typed, func(e error) bool { return errors.Is(err, e) && errors.Is(why, e) }) {
				t.Fatalf("Decrypt says %v, and ParseKey says %v", err, why)
			}
		case err == nil:
			again, err := MarshalKey(key)
			if err != nil || !SamePublicKey(ReadKeyFile(again).Public, key.Public()) {
				t.Fatalf("written again: %v", err)
			}
		}
	})
}
