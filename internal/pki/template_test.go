package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

// A length or a tag that does not fit into 32 bits is refused.
func TestGreatLengths(t *testing.T) {
	der := append([]byte{0x30, 0x84, 0, 0x80, 0, 0}, make([]byte, 9<<20)...)
	for _, octets := range [][]byte{
		{0x85, 0, 0x80, 0, 0, 0}, {0x86, 0x01, 0, 0, 0, 0, 0x10},
		{0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x84, 0xff, 0xff, 0xff, 0xff},
	} {
		copy(der[1:], octets)
		if e, _, err := first(der); !errors.Is(err, errCut) {
			t.Errorf("% x: %d octets, %v", octets, e.size, err)
		}
	}
	tag := []byte{0x1f, 0x88, 0x80, 0x80, 0x80, 0x02, 0x00} // 2^31 + 2
	if e, _, err := first(tag); !errors.Is(err, errCut) {
		t.Errorf("tag %d, %v", e.tag, err)
	}
}

func FuzzTemplate(f *testing.F) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	tmpl := x509.Certificate{SerialNumber: big.NewInt(0x80ff),
		Subject:  pkix.Name{CommonName: "a.example.org", Organization: []string{"Zu\u00e9"}},
		NotAfter: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC), DNSNames: []string{"a.example.org"}, IsCA: true,
		BasicConstraintsValid: true}
	seed, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, pub, key)
	if err != nil {
		f.Fatal(err)
	}
	for at := range seed {
		f.Add(seed, at, seed[at]^0x80)
		f.Add(seed, at, byte(0xff))
	}
	f.Fuzz(func(t *testing.T, der []byte, at int, to byte) {
		if len(der) > 0 {
			der = bytes.Clone(der)
			der[uint(at)%uint(len(der))] = to
		}
		fault := certificateFault(der)
		c, err := ParseCertificate(der)
		if (c == nil) == (err == nil) || fault != nil && err == nil {
			t.Errorf("% x: %v, %v", der, fault, err)
		}
	})
}
