//go:build !freebsd

package keeper

import "mailcertd/internal/pki"

// libssl is the zero value of pki.Libssl: OpenSSL 3 at level 1, the lowest level that a system sets by default. With a
// higher level mailcertd could report a key that this system's sendmail accepts.
func libssl() pki.Libssl { return pki.Libssl{} }
