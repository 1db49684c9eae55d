package acme

import (
	"context"
	"crypto"
	"crypto/x509"

	"mailcertd/internal/issuer"

	"github.com/mholt/acmez/v3/acme"
)

// Revoke asks the CA to revoke a certificate, with a reason code of RFC 5280 section 5.3.1. The request is signed with
// the certificate's own key, so that it needs no account (RFC 8555 section 7.6). It is no error if the certificate is
// revoked already.
func (i *Issuer) Revoke(ctx context.Context, c *x509.Certificate, key crypto.Signer, reason int) error {
	ctx, cancel := context.WithTimeout(ctx, i.o.Patience)
	defer cancel()
	s, err := i.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if s.dir.RevokeCert == "" {
		return issuer.Refusal{Kind: issuer.KindOrder, Final: true, Reason: "the CA revokes no certificates"}
	}
	err = s.client.RevokeCertificate(ctx, acme.Account{}, c, key, reason)
	if isProblem(err, acme.ProblemTypeAlreadyRevoked) {
		return nil
	}
	return s.refuse(ctx, "the revocation", err)
}
