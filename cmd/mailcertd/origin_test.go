package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// signed makes a certificate under a CA that is made with it; by itself without one.
func signed(t *testing.T, name string, byItself bool) (leaf, authority *x509.Certificate) {
	t.Helper()
	create := func(subject string, isCA bool, parent *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, NotBefore: today, NotAfter: days(10), IsCA: isCA, BasicConstraintsValid: true}
		if parent == nil {
			parent, with = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), with)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	authority, key := create("Some CA", true, nil, nil)
	if byItself {
		leaf, _ = create(name, false, nil, nil)
		return leaf, authority
	}
	leaf, _ = create(name, false, authority, key)
	return leaf, authority
}

// Every certificate comes from somewhere, and every origin has its words.
func TestOrigin(t *testing.T) {
	leaf, authority := signed(t, "mail.example", false)
	alone, _ := signed(t, "mail.example", true)
	carried := days(-90)
	p := &page{zone: tokyo, now: today, width: 80}
	var seen []string
	for _, c := range []struct {
		name  string
		owner plan.Owner
		from  config.IssuerKind
		do    func(*keeper.Result)
		cert  *x509.Certificate
		want  origin
		words string
	}{
		{"by the CA here", plan.Ours, config.IssuerLocal, func(r *keeper.Result) { r.Observed.CA.Current.Cert = authority }, leaf, fromHere, "issued by the CA on this host"},
		{"by the one that waits", plan.Ours, config.IssuerLocal, func(r *keeper.Result) { r.Observed.CA.Next.Cert = authority }, leaf, fromHere, "issued by the CA on this host"},
		{"by the CA of another host", plan.Ours, config.IssuerSSH, func(r *keeper.Result) { r.Observed.Accepted = []*x509.Certificate{authority} }, leaf, fromElsewhere, "issued by the CA on krb5.example"},
		{"its CA is not accepted", plan.Ours, config.IssuerSSH, func(r *keeper.Result) { r.Observed.CA.Current.Cert = authority }, leaf, fromMailcertd, "made by mailcertd, under a CA that is gone"},
		{"its CA is gone", plan.Ours, config.IssuerLocal, nil, leaf, fromMailcertd, "made by mailcertd, under a CA that is gone"},
		{"stop-gap", plan.Interim, config.IssuerSSH, nil, alone, fromStopGap, "a stop-gap, signed by mailcertd itself until a CA answers"},
		{"of the base system", plan.Stanza, config.IssuerLocal, nil, leaf, fromBaseSystem, "made by the base system (rc.d/sendmail)"},
		{"installed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) { r.Plan.State.Carried = state.Seen{Digest: plan.LeafID(leaf), Since: carried} }, leaf, fromPerson, "installed by hand on 2026-08-25"},
		{"installed, self-signed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) { r.Plan.State.Carried = state.Seen{Digest: plan.LeafID(alone), Since: carried} }, alone, fromPerson, "installed by hand on 2026-08-25"},
		{"another was installed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) { r.Plan.State.Carried = state.Seen{Digest: plan.LeafID(alone), Since: carried} }, leaf, fromAnotherCA, "of another CA, not issued by mailcertd"},
		{"bought", plan.Foreign, config.IssuerLocal, nil, leaf, fromAnotherCA, "of another CA, not issued by mailcertd"},
		{"self-signed", plan.Foreign, config.IssuerLocal, nil, alone, fromItself, "self-signed, not by mailcertd"},
		{"not to be judged", plan.Nobody, config.IssuerLocal, nil, leaf, fromUnknown, "of unknown origin"},
	} {
		var r keeper.Result
		r.Plan.Facts.Owner = c.owner
		if c.do != nil {
			c.do(&r)
		}
		got, at := originOf(config.Config{Issuer: config.Issuer{Kind: c.from}}, r, c.cert)
		if got != c.want || (got == fromPerson) != at.Equal(carried) {
			t.Errorf("%s: %s since %v, want %s", c.name, got, at, c.want)
		}
		if text := got.words("mailcertd@krb5.example", moment(at), p); text != c.words {
			t.Errorf("%s: %q, want %q", c.name, text, c.words)
		}
		seen = append(seen, string(got))
	}
	for _, w := range words(t, ".", "origin") {
		if !slices.Contains(seen, w) {
			t.Errorf("%s: nothing here comes from there", w)
		}
	}
}
