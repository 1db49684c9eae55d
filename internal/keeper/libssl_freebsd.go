package keeper

import (
	"golang.org/x/sys/unix"

	"mailcertd/internal/pki"
)

// libssl is the OpenSSL of the base system, with which its sendmail is linked:
// 1.1.1 up to FreeBSD 13, 3 from 14.
func libssl() pki.Libssl {
	const fourteen = 1400000 // __FreeBSD_version
	v, err := unix.SysctlUint32("kern.osreldate")
	return pki.Libssl{Old: err == nil && v < fourteen}
}
