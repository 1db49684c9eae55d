package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// publicCertificate is an installed certificate of this host from an ACME CA.
type publicCertificate struct {
	*console
	k         *keeper.Keeper
	pair      certdir.Pair
	cert      *x509.Certificate
	directory string
}

// publicCertificate finds the installed certificate from an ACME CA that a person names; nil where there is none. By
// its serial number it is meant for sure. Its name may also be that of a certificate of the CA on this host.
func (a *app) publicCertificate(ctx context.Context, what string) (named *publicCertificate, sure bool, err error) {
	cfg, err := a.load()
	if err != nil || !plan.Obtains(cfg, config.IssuerACME) {
		return nil, false, err
	}
	k := a.keeper(cfg, quiet(a.logLevel, a.err))
	r := k.Check(ctx, plan.Wish{})
	for _, f := range r.Plan.Facts.Pairs {
		certs := r.Observed.Certs.Pair(f.Pair).Cert.File.Certs
		if !f.Public || f.Owner != plan.Ours || f.Directory == "" || len(certs) == 0 {
			continue
		}
		c := &publicCertificate{&a.console, k, f.Pair, certs[0], f.Directory}
		serial := ca.FormatSerial(certs[0].SerialNumber)
		if strings.EqualFold(strings.TrimLeft(what, "0"), strings.TrimLeft(serial, "0")) {
			return c, true, nil
		}
		if named == nil && slices.ContainsFunc(plan.CertNames(certs[0]),
			func(n string) bool { return strings.EqualFold(n, what) }) {
			named = c
		}
	}
	return named, false, nil
}

// revoke has the CA revoke the certificate, and gets another one.
func (p *publicCertificate) revoke(ctx context.Context, reason string) error {
	if err := p.k.RevokePublic(ctx, p.pair, p.cert, p.directory, reason); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s has revoked %s\n", p.directory, ca.FormatSerial(p.cert.SerialNumber))
	r, err := p.k.Renew(ctx, plan.Wish{Once: true})
	p.printDone(r, true)
	if err != nil {
		return fmt.Errorf("the certificate is revoked, and another one was not obtained (the daemon tries again): %w",
			err)
	}
	return verdict(r.Plan)
}
