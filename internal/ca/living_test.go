package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// aged is a CA with a certificate of an older generation.
type aged struct {
	o    Options
	d    *durable.Disk
	key  crypto.Signer
	leaf *x509.Certificate
}

// withOlder makes a CA with an older generation that has a valid certificate.
func withOlder(t *testing.T) *aged {
	t.Helper()
	h := &aged{}
	h.o, h.d = made(t)
	h.key = newKey(t)
	c, err := Issue(context.Background(), h.d, h.o, Request{Public: h.key.Public(), Name: "mail.example.org", Days: 90},
		rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.leaf = c
	if _, err := StartNext(context.Background(), h.d, h.o, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := Promote(context.Background(), h.d, h.o); err != nil {
		t.Fatal(err)
	}
	return h
}

// If rows are missing in index.txt, it does not say which generations have valid certificates. Then no generation is
// removed, and each is included in what is issued.
func TestGenerationWithoutRowsLives(t *testing.T) {
	for name, damage := range map[string]func(index string) error{
		"index.txt is missing": os.Remove,
		"index.txt is empty":   func(index string) error { return os.WriteFile(index, nil, 0o644) },
		"a row cannot be read": func(index string) error {
			return os.WriteFile(index, []byte("V\tnever\t\t01\tunknown\t/CN=x\n"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := withOlder(t)
			older := Observe(h.o.Dir, Filter{}).Older[0].Cert
			if err := damage(filepath.Join(h.o.Dir, indexName)); err != nil {
				t.Fatal(err)
			}
			o := Observe(h.o.Dir, Filter{})
			if Prunable(o, time.Now()) {
				t.Error("a generation may be removed")
			}
			if !slices.ContainsFunc(Bundle(o, time.Now()), older.Equal) {
				t.Error("the generation is not included in what is issued")
			}
			if err := Prune(context.Background(), h.d, h.o.Dir, time.Now()); err != nil {
				t.Fatal(err)
			}
			if n := len(Observe(h.o.Dir, Filter{}).Older); n != 1 {
				t.Errorf("%d older generations", n)
			}
			if _, err := Reconcile(context.Background(), h.d, h.o.Dir, nil); err != nil {
				t.Fatal(err)
			}
			if Prunable(Observe(h.o.Dir, Filter{}), time.Now()) {
				t.Error("a generation may be removed after the repair")
			}
		})
	}
}

// The generation that signed a certificate is gone. The same request then gets a new certificate from the present CA.
func TestLeafOfALostGenerationIsNotRepeated(t *testing.T) {
	h := withOlder(t)
	ask := Ask{ByHand: true, Name: "mail.example.org", Request: pki.Request{Public: h.key.Public()}, Days: 90}
	decide := func() Decision {
		s, err := Open(context.Background(), h.d, h.o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		d, err := s.Preview(ask, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(); d.Repeat == nil || !d.Repeat.Equal(h.leaf) {
		t.Errorf("the valid certificate is not given again: %+v", d)
	}
	if err := os.RemoveAll(filepath.Join(h.o.Dir, "gen-1")); err != nil {
		t.Fatal(err)
	}
	if d := decide(); d.Repeat != nil {
		t.Error("a certificate that cannot be used is given again")
	}
}
