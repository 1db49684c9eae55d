//go:build crashpoints

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"mailcertd/internal/durable"
)

// arm prepares a binary for crash tests. MAILCERTD_CRASH_AT=N kills the process with SIGKILL before its Nth durable
// operation, and MAILCERTD_TORN_AT=N when half of the bytes of that operation are written. MAILCERTD_POINTS=FILE writes
// down every operation that is reached; MAILCERTD_RECORD=FILE does it in JSON with the data of each operation, keys
// included. MAILCERTD_CLOCK sets how much the clock is ahead, such as 960h. MAILCERTD_ORDER_FOR sets the longest time
// for a question to an ACME CA, such as 10s.
func arm(d *durable.Disk) {
	at, _ := strconv.ParseInt(os.Getenv("MAILCERTD_CRASH_AT"), 10, 64)
	torn, _ := strconv.ParseInt(os.Getenv("MAILCERTD_TORN_AT"), 10, 64)
	if wrong, err := time.ParseDuration(os.Getenv("MAILCERTD_CLOCK")); err == nil {
		wallClock = func() time.Time { return time.Now().Add(wrong) }
	}
	orderFor, _ = time.ParseDuration(os.Getenv("MAILCERTD_ORDER_FOR"))
	var list, record *os.File
	if name := os.Getenv("MAILCERTD_RECORD"); name != "" {
		record, _ = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if name := os.Getenv("MAILCERTD_POINTS"); name != "" {
		list, _ = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	d.Before = func(p durable.Point) error {
		if list != nil {
			fmt.Fprintf(list, "%d %s %s\n", p.N, p.Op, p.Path)
		}
		if record != nil {
			_ = json.NewEncoder(record).Encode(p)
		}
		if at != 0 && p.N == at {
			die()
		}
		if torn != 0 && p.N == torn {
			return &durable.Short{Err: syscall.ENOSPC, Then: die}
		}
		return nil
	}
	failures(d)
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
