package mta

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is when this system started, by the present wall clock; zero where it is not known. The wall clock is read
// first: on a busy machine this process may lose the processor between the two readings, and the result is then too
// early and never too late. A start of sendmail that is too late would prove that it has read files which it has not.
func BootTime() time.Time {
	var now, up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Unix(now.Unix()).Add(-time.Duration(up.Nano()))
}
