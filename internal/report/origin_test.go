package report

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// origins is when these certificates are made.
var origins = time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC)

// signed makes a certificate under a new CA, or self-signed.
func signed(t *testing.T, name string, byItself bool) (leaf, privateCA *x509.Certificate) {
	t.Helper()
	create := func(subject string, isCA bool, parent *x509.Certificate, with *ecdsa.PrivateKey) (*x509.Certificate,
		*ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, NotBefore: origins,
			NotAfter: origins.AddDate(0, 0, 10), IsCA: isCA, BasicConstraintsValid: true}
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
	privateCA, key := create("Some CA", true, nil, nil)
	if byItself {
		leaf, _ = create(name, false, nil, nil)
		return leaf, privateCA
	}
	leaf, _ = create(name, false, privateCA, key)
	return leaf, privateCA
}

// Every kind of certificate has its origin.
func TestOrigin(t *testing.T) {
	leaf, privateCA := signed(t, "mail.example", false)
	alone, _ := signed(t, "mail.example", true)
	carried := origins.AddDate(0, 0, -90)
	var seen []string
	for _, c := range []struct {
		name  string
		owner plan.Owner
		from  config.IssuerKind
		do    func(*keeper.Result)
		cert  *x509.Certificate
		want  Origin
	}{
		{"by the CA here", plan.Ours, config.IssuerLocal, func(r *keeper.Result) {
			r.Observed.CA.Current.Cert = privateCA
		}, leaf, FromHere},
		{"by the next generation", plan.Ours, config.IssuerLocal, func(r *keeper.Result) {
			r.Observed.CA.Next.Cert = privateCA
		}, leaf, FromHere},
		{"by the CA of another host", plan.Ours, config.IssuerSSH, func(r *keeper.Result) {
			r.Observed.Accepted = []*x509.Certificate{privateCA}
		}, leaf, FromElsewhere},
		{"its CA is not accepted", plan.Ours, config.IssuerSSH, func(r *keeper.Result) {
			r.Observed.CA.Current.Cert = privateCA
		}, leaf, FromMailcertd},
		{"by an ACME CA", plan.Ours, config.IssuerACME, nil, leaf, FromACME},
		{"by the CA here, and the issuer is an ACME CA now", plan.Ours, config.IssuerACME, func(r *keeper.Result) {
			r.Observed.CA.Current.Cert = privateCA
		}, leaf, FromHere},
		{"its CA is gone", plan.Ours, config.IssuerLocal, nil, leaf, FromMailcertd},
		{"interim", plan.Interim, config.IssuerSSH, nil, alone, FromInterim},
		{"of the base system", plan.Stanza, config.IssuerLocal, nil, leaf, FromBaseSystem},
		{"installed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) {
			r.Plan.State.Carried = state.Seen{Digest: pki.Fingerprint(leaf), Since: carried}
		}, leaf, FromPerson},
		{"installed, self-signed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) {
			r.Plan.State.Carried = state.Seen{Digest: pki.Fingerprint(alone), Since: carried}
		}, alone, FromPerson},
		{"another was installed", plan.Foreign, config.IssuerNone, func(r *keeper.Result) {
			r.Plan.State.Carried = state.Seen{Digest: pki.Fingerprint(alone), Since: carried}
		}, leaf, FromAnotherCA},
		{"bought", plan.Foreign, config.IssuerLocal, nil, leaf, FromAnotherCA},
		{"self-signed", plan.Foreign, config.IssuerLocal, nil, alone, FromItself},
		{"not to be judged", plan.Nobody, config.IssuerLocal, nil, leaf, FromUnknown},
	} {
		var r keeper.Result
		if c.do != nil {
			c.do(&r)
		}
		got, at := originOf(config.Config{Issuer: config.Issuer{Kind: c.from}}, r, c.owner, c.cert)
		if got != c.want || (got == FromPerson) != at.Equal(carried) {
			t.Errorf("%s: %s since %v, want %s", c.name, got, at, c.want)
		}
		seen = append(seen, string(got))
	}
	for _, w := range words(t, ".", "Origin") {
		if !slices.Contains(seen, w) {
			t.Errorf("%s: no case has this origin", w)
		}
	}
}
