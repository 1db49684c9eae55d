package mta

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is when this system started, by the present wall clock; zero where it is not known.
func BootTime() time.Time {
	var up, now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil {
		return time.Time{}
	}
	return time.Unix(now.Unix()).Add(-time.Duration(up.Nano()))
}
