package parcel

import (
	"bytes"
	"crypto/rand"
	"testing"

	"mailcertd/internal/pki"
)

// For any input: a key is accepted only with a leaf, no certificate is both the leaf and a CA's, and the key that would
// be installed has no certificate in its text.
func FuzzRead(f *testing.F) {
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	text, err := pki.MarshalKey(key)
	if err != nil {
		f.Fatal(err)
	}
	csr, err := pki.CreateRequest(key, "mail.example.org", nil, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(csr)
	f.Add(append(bytes.Clone(text), csr...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(data, "", nil)
		if err != nil {
			return
		}
		if p.Key == nil && p.Leaf == nil && len(p.Middle)+len(p.Roots) == 0 {
			t.Fatal("nothing was found, and there is no error")
		}
		if p.Key != nil {
			if p.Leaf == nil {
				t.Fatal("a key without a certificate was accepted")
			}
			if k := pki.ReadKeyFile(p.KeyPEM); k.Err != nil || k.Certs > 0 || k.Keys != 1 ||
				!pki.SamePublicKey(k.Public, p.Key.Public()) {
				t.Fatalf("the key that would be installed: %+v", k)
			}
		}
		for _, c := range append(p.Middle, p.Roots...) {
			if p.Leaf != nil && c.Equal(p.Leaf) {
				t.Fatal("one certificate is the host's and a CA's")
			}
		}
	})
}
