package keeper

import (
	"golang.org/x/sys/unix"

	"mailcertd/internal/pki"
)

// libssl is the OpenSSL of the base system, with which its sendmail is linked: 1.1.1 up to FreeBSD 13, 3.0 in FreeBSD
// 14, and 3.5 from FreeBSD 15 on, whose default security level is 2.
func libssl() pki.Libssl {
	const fourteen, fifteen = 1400000, 1500000 // values of __FreeBSD_version
	v, err := unix.SysctlUint32("kern.osreldate")
	switch {
	case err != nil:
		return pki.Libssl{}
	case v >= fifteen:
		return pki.Libssl{Level: 2}
	}
	return pki.Libssl{Old: v < fourteen}
}
