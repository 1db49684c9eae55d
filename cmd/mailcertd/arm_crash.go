//go:build crashpoints

package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"mailcertd/internal/durable"
)

// arm makes a binary for crash tests: MAILCERTD_CRASH_AT=N kills the process
// with SIGKILL right before its Nth durable operation, and MAILCERTD_POINTS=FILE
// writes down every operation that is reached.
func arm(d *durable.Disk) {
	at, _ := strconv.ParseInt(os.Getenv("MAILCERTD_CRASH_AT"), 10, 64)
	var list *os.File
	if name := os.Getenv("MAILCERTD_POINTS"); name != "" {
		list, _ = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	d.Before = func(p durable.Point) error {
		if list != nil {
			fmt.Fprintf(list, "%d %s %s\n", p.N, p.Op, p.Path)
		}
		if at != 0 && p.N == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	failures(d)
}
