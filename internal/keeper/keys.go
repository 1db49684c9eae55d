package keeper

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// newKey makes a private key. An RSA key takes seconds, or minutes on an old machine. Nobody can predict how long the
// search for its primes takes, so SIGTERM does not wait for it.
func (b *base) newKey(ctx context.Context, t pki.KeyType) (crypto.Signer, error) {
	defer b.working("making a new "+string(t)+" key", 0)()
	return pki.GenerateKeyContext(ctx, t, b.o.Rand)
}

// errNoKey says that a file was read and contains no usable key.
var errNoKey = errors.New("contains no usable key")

// pairKey reads the installed private key of a pair, or its staged one. Its error wraps errNoKey when the file could be
// read.
func (b *base) pairKey(p certdir.Pair, staged bool) (crypto.Signer, error) {
	n := durable.Read(b.Path(p.KeyFile), certdir.MaxFile)
	if staged {
		n = durable.OpenSet(b.o.Disk, b.cfg.Certs.Dir).Staged(p.KeyFile)
	}
	switch {
	case n.Err != nil:
		return nil, n.Err
	case !n.Exists:
		return nil, fmt.Errorf("%s: there is no key", n.Path)
	}
	signer, err := pki.ParseKey(n.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", n.Path, errNoKey, err)
	}
	return signer, nil
}
