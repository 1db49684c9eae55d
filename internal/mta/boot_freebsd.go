package mta

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is when this system started, by the present wall clock; zero where it is not known.
func BootTime() time.Time {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(tv.Sec), int64(tv.Usec)*1000)
}
