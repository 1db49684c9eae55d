package keeper

import (
	"bytes"
	"crypto/rand"
	"testing"

	"mailcertd/internal/pki"
)

// Whatever lies in a file that is to be installed: what is taken as a
// certificate with its key is a pair, what is a CA's is no host's, and the key
// goes on alone.
func FuzzUnpack(f *testing.F) {
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
		p, err := unpack(Incoming{Data: data})
		if err != nil {
			return
		}
		if p.key == nil && p.leaf == nil && len(p.middle)+len(p.roots) == 0 {
			t.Fatal("nothing was found, and nothing said")
		}
		if p.key != nil {
			if p.leaf == nil {
				t.Fatal("a key alone was taken")
			}
			if k := pki.ReadKeyFile(p.keyPEM); k.Err != nil || k.Certs > 0 || k.Keys != 1 || !pki.SamePublicKey(k.Public, p.key.Public()) {
				t.Fatalf("the key that would be installed: %+v", k)
			}
		}
		for _, c := range append(p.middle, p.roots...) {
			if p.leaf != nil && c.Equal(p.leaf) {
				t.Fatal("one certificate is the host's and a CA's")
			}
		}
	})
}
