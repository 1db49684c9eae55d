//go:build !freebsd

package keeper

import "mailcertd/internal/pki"

// libssl is OpenSSL 3 at its lowest level in use.
func libssl() pki.Libssl { return pki.Libssl{} }
