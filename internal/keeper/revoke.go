package keeper

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer/acme"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// RevokePublic has the ACME CA revoke the installed certificate of a pair. reason is one of ca.Reasons, or "" for none.
// The state then says that it is revoked, so that another one is asked for at once, and, where others may have the key,
// one for another key.
func (k *Keeper) RevokePublic(ctx context.Context, pair certdir.Pair, c *x509.Certificate, directory, reason string,
) error {
	fallback := directory == k.cfg.Issuer.ACME.Fallback.Directory
	if !fallback && directory != k.cfg.Issuer.ACME.Directory {
		return fmt.Errorf("%s has issued it, and mailcertd.yaml does not name that CA any more: name it there as "+
			"issuer.acme.directory", directory)
	}
	key, err := k.pairKey(pair, false)
	if err != nil {
		return err
	}
	if !pki.SamePublicKey(key.Public(), c.PublicKey) {
		return fmt.Errorf("%s is not the key of the certificate", pair.KeyFile)
	}
	x, err := k.acmeCA(k.o.Step, fallback)
	if err != nil {
		return err
	}
	defer k.working("asking "+directory+" to revoke it", x.turn().patience)()
	if err := x.turn().after(ctx); err != nil && !errors.Is(err, errBusy) { // who asked before has no part in this
		return err
	}
	err = x.alone(func(i *acme.Issuer) error { return i.Revoke(ctx, c, key, ca.Reasons()[reason]) })
	if err != nil {
		return fmt.Errorf("%s: %w", directory, err)
	}
	id := pki.Fingerprint(c)
	return k.state.change(ctx, func(s *state.State) {
		m := s.ACME[pair.Name].About(id)
		m.Directory, m.Revoked, m.RevokedFor = directory, k.o.Now().UTC().Truncate(time.Second), reason
		setACME(s, pair, m)
		delete(s.Failures, plan.ObtainFailureOf(pair))
	})
}
