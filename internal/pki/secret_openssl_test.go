package pki

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"mailcertd/internal/openssltest"
)

// plainKeys returns one key of every type, as openssl genpkey writes it.
func plainKeys(t testing.TB) map[string][]byte {
	t.Helper()
	openssltest.Need(t)
	return map[string][]byte{
		"rsa-2048": openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
		"p256":     openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
		"ed25519":  openssl(t, nil, "genpkey", "-algorithm", "ED25519"),
	}
}

// encryptions are openssl's ways to write an encrypted key. kinds are the key types that the command accepts; "" means
// all.
var encryptions = []struct{ kinds, command string }{
	{"", "pkcs8 -topk8"},
	{"", "pkcs8 -topk8 -v2 aes-128-cbc"},
	{"", "pkcs8 -topk8 -v2 aes-192-cbc"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc"},
	{"", "pkcs8 -topk8 -v2 des3"},
	{"", "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA512"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA224"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA384"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512"},
	{"", "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512-256"},
	{"", "pkcs8 -topk8 -iter 100000"},
	{"", "pkcs8 -topk8 -scrypt"},
	{"", "pkcs8 -topk8 -scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 16"},
	{"", "pkcs8 -topk8 -scrypt -v2 aes-128-cbc"},
	{"", "pkey -aes256"},
	{"rsa-2048", "rsa -aes128 -traditional"},
	{"rsa-2048", "rsa -aes192 -traditional"},
	{"rsa-2048", "rsa -aes256 -traditional"},
	{"rsa-2048", "rsa -des3 -traditional"},
	{"rsa-2048", "rsa -des -traditional -provider legacy -provider default"},
	{"p256", "ec -des3"},
	{"p256", "ec -aes256"},
	{"rsa-2048 p256", "pkey -traditional -aes128"},
}

// A key that openssl has encrypted is read with its passphrase, and with no other one.
func TestDecryptAgainstOpenssl(t *testing.T) {
	for kind, plain := range plainKeys(t) {
		want, err := ParseKey(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range encryptions {
			if e.kinds != "" && !strings.Contains(e.kinds, kind) {
				continue
			}
			t.Run(kind+"/"+e.command, func(t *testing.T) {
				for _, passphrase := range []string{"correct horse", "pässwörd", strings.Repeat("long ", 40)} {
					data := openssl(t, plain, append(strings.Fields(e.command), "-passout", "pass:"+passphrase)...)
					if _, err := ParseKey(data); !errors.Is(err, ErrEncrypted) {
						t.Fatalf("is not encrypted: %v", err)
					}
					key, err := Decrypt(data, []byte(passphrase))
					if err != nil || !SamePublicKey(key.Public(), want.Public()) {
						t.Fatalf("with %q: %v", passphrase, err)
					}
					if passphrase != "correct horse" {
						continue
					}
					for _, wrong := range []string{"", passphrase + " ", strings.ToUpper(passphrase)} {
						if key, err := Decrypt(data, []byte(wrong)); key != nil || !errors.Is(err, ErrPassphrase) {
							t.Errorf("with %q: %v", wrong, err)
						}
					}
				}
			})
		}
	}
}

// A wrong passphrase is distinguished from a damaged file even where the padding is correct by chance, which happens
// about 20 times in these 5000.
func TestEveryWrongPassphrase(t *testing.T) {
	for kind, plain := range plainKeys(t) {
		data := openssl(t, plain, "pkcs8", "-topk8", "-iter", "1", "-passout", "pass:secret")
		old := data
		if kind != "ed25519" {
			old = openssl(t, plain, "pkey", "-traditional", "-aes128", "-passout", "pass:secret")
		}
		for i := range 2500 {
			wrong := []byte{byte(i), byte(i >> 8), 'x'}
			for _, d := range [][]byte{data, old} {
				if key, err := Decrypt(d, wrong); key != nil || !errors.Is(err, ErrPassphrase) {
					t.Fatalf("%s with %q: %v", kind, wrong, err)
				}
			}
		}
	}
}

// openssl reads the keys that we encrypt, in the form that Encrypt promises.
func TestEncryptAgainstOpenssl(t *testing.T) {
	for kind, plain := range plainKeys(t) {
		t.Run(kind, func(t *testing.T) {
			key, err := ParseKey(plain)
			if err != nil {
				t.Fatal(err)
			}
			for _, passphrase := range []string{"x", "pässwörd"} {
				data, err := Encrypt(key, []byte(passphrase), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				if got := openssl(t, data, "pkey", "-passin", "pass:"+passphrase); string(got) != string(plain) {
					t.Errorf("openssl reads another key with %q", passphrase)
				}
				back, err := Decrypt(data, []byte(passphrase))
				if err != nil || !SamePublicKey(back.Public(), key.Public()) {
					t.Errorf("%q: %v", passphrase, err)
				}
				if accepts(t, data) {
					t.Error("openssl reads it without the passphrase")
				}
				asn1 := string(openssl(t, data, "asn1parse"))
				// 0x0927C0 is 600000.
				for _, part := range []string{":PBES2", ":PBKDF2", ":hmacWithSHA256", ":aes-256-cbc", ":0927C0"} {
					if !strings.Contains(asn1, part) {
						t.Errorf("no %s in\n%s", part, asn1)
					}
				}
			}
		})
	}
}

// A key that openssl encrypts in a way that we do not support is not reported as a wrong passphrase.
func TestDecryptOtherKinds(t *testing.T) {
	openssltest.Need(t)
	for name, args := range map[string][]string{
		"ed448":     {"genpkey", "-algorithm", "ED448"},
		"x25519":    {"genpkey", "-algorithm", "X25519"},
		"secp256k1": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
	} {
		data := openssl(t, openssl(t, nil, args...), "pkcs8", "-topk8", "-passout", "pass:x")
		if _, err := Decrypt(data, []byte("x")); !errors.Is(err, ErrUnsupported) && name != "x25519" ||
			errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Decrypt(data, []byte("y")); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	key := openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	for _, command := range []string{
		"pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default",
		"pkcs8 -topk8 -v1 PBE-SHA1-3DES",
		"pkcs8 -topk8 -v2 camellia-256-cbc",
		"ec -camellia256",
	} {
		data := openssl(t, key, append(strings.Fields(command), "-passout", "pass:x")...)
		if _, err := Decrypt(data, []byte("x")); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", command, err)
		}
	}
}
