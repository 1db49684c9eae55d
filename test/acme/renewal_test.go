package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
)

// TestRenewal: the CA says when to renew, the order names the certificate that it replaces, and a replaced certificate
// is never returned again.
func TestRenewal(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	first := obtain(t, o, r)
	info, ok, err := client(t, o).RenewalInfo(context.Background(), first.Leaf)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if third := first.Leaf.NotAfter.Add(-30 * 24 * time.Hour); info.Start.After(third) || info.End.Before(third) {
		t.Errorf("from %s to %s", info.Start, info.End)
	}
	if d := time.Until(info.RetryAfter); d < 5*time.Hour || d > 7*time.Hour {
		t.Errorf("again in %s", d)
	}
	r.Replaces = first.Leaf // Taken was not called, so the certificate of the open order is still kept
	second := obtain(t, o, r)
	if second.Leaf.Equal(first.Leaf) || p.Orders() != 2 || strings.Count(p.Log(), "is a replacement of") != 1 {
		t.Errorf("%d orders, %d replacements", p.Orders(), strings.Count(p.Log(), "is a replacement of"))
	}
	if err := client(t, o).Taken(r); err != nil {
		t.Fatal(err)
	}
	r.Replaces = first.Leaf // it is replaced already, so the order names none
	third := obtain(t, o, r)
	if third.Leaf.Equal(second.Leaf) || p.Orders() != 3 {
		t.Errorf("%d orders", p.Orders())
	}
	foreign := request(t, "mx.example.test") // a leaf of another CA, for which Pebble returns an internal error
	foreign.Replaces = obtain(t, start(t, settings{}).elsewhere(), request(t, "mx.example.test")).Leaf
	obtain(t, o, foreign)
	if p.Orders() != 4 {
		t.Errorf("%d orders", p.Orders())
	}
}

func (p *pebble) elsewhere() (o acme.Options) { return p.options(newMemory()) }

// TestRenewalWindows: windows of any length are accepted, also one in the past. An answer that is not a window is an
// error.
func TestRenewalWindows(t *testing.T) {
	p := start(t, settings{})
	o := p.options(newMemory())
	leaf := obtain(t, o, request(t, "mx.example.test")).Leaf
	for answer, good := range map[string]bool{
		`{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z"},"explanationURL":"https://x/"}`: true,
		`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}`:                               false,
		`{"suggestedWindow":{}}`: false,
		`{`:                      false,
		`<html>`:                 false,
	} {
		p.Renews(t, pki.EncodeCertificate(leaf.Raw), answer)
		info, ok, err := client(t, o).RenewalInfo(context.Background(), leaf)
		if ok != good || (err == nil) != good {
			t.Errorf("%s: %v, %v", answer, ok, err)
		}
		if good && info.ExplanationURL != "https://x/" {
			t.Errorf("%+v", info)
		}
	}
	other := obtain(t, start(t, settings{}).elsewhere(), request(t, "mx.example.test")).Leaf
	_, ok, err := client(t, o).RenewalInfo(context.Background(), other)
	if no, is := err.(issuer.Refusal); ok || !is || no.Kind == "" {
		t.Errorf("of another CA: %v, %v", ok, err)
	}
}

// TestPreferredChain: of several chains the one to the named root is taken.
func TestPreferredChain(t *testing.T) {
	p := start(t, settings{env: []string{"PEBBLE_ALTERNATE_ROOTS=2", "PEBBLE_CHAIN_LENGTH=3"}})
	o := p.options(newMemory())
	r := request(t, "mx.example.test")
	first := obtain(t, o, r)
	block, _ := pem.Decode(p.Managed(t, "/roots/2", nil))
	root := parse(t, block.Bytes)
	o.PreferredChain = root.Subject.CommonName
	second := obtain(t, o, r)
	last := second.CAs[len(second.CAs)-1]
	if last.Issuer.CommonName != root.Subject.CommonName || last.CheckSignatureFrom(root) != nil || p.Orders() != 1 {
		t.Errorf("%s, %d orders", last.Issuer, p.Orders())
	}
	if first.CAs[len(first.CAs)-1].Issuer.CommonName == root.Subject.CommonName || len(first.CAs) != 3 {
		t.Errorf("the first chain: %d, to %s", len(first.CAs), first.CAs[len(first.CAs)-1].Issuer)
	}
	o.PreferredChain = "Nobody's Root"
	if third := obtain(t, o, r); !third.CAs[0].Equal(first.CAs[0]) {
		t.Error("not the first chain")
	}
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
