//go:build crashpoints

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"mailcertd/internal/durable"
)

// failures makes operations of the disk fail. MAILCERTD_FAULT has four words: "change" or "read"; the number of the
// operation among those, from 1; the name of the error, such as ENOSPC; and "once", "lasting" or "short". "once" fails
// that operation, "lasting" that one and all later ones, and "short" fails a write after half of its bytes.
// MAILCERTD_READS=FILE gets a line for each read.
func failures(d *durable.Disk) {
	serveSoak(d)
	if f := strings.Fields(os.Getenv("MAILCERTD_FAULT")); len(f) == 3 && f[0] == "random" {
		seed, err := strconv.ParseUint(f[1], 10, 64)
		permille, perr := strconv.ParseInt(f[2], 10, 64)
		if err != nil || perr != nil {
			panic("MAILCERTD_FAULT: " + os.Getenv("MAILCERTD_FAULT"))
		}
		newChance(d, seed, permille)
		return
	}
	var kind, word, errno string
	if f := strings.Fields(os.Getenv("MAILCERTD_FAULT")); len(f) == 4 {
		kind, word, errno = f[0], f[1], f[2]
		at, err := strconv.ParseInt(word, 10, 64)
		var no error = errnos[errno]
		if errnos[errno] == 0 || err != nil {
			panic("MAILCERTD_FAULT: " + os.Getenv("MAILCERTD_FAULT"))
		}
		lasting := f[3] == "lasting"
		hit := func(n int64) error {
			if f[3] == "short" && n == at {
				return &durable.Short{Err: no}
			}
			if n == at || lasting && n > at {
				return no
			}
			return nil
		}
		if kind == "change" {
			next := d.Before
			d.Before = func(p durable.Point) error {
				if err := next(p); err != nil {
					return err
				}
				return hit(p.N)
			}
			return
		}
		var n atomic.Int64
		durable.TestOnlyBeforeRead(func(string, string) error { return hit(n.Add(1)) })
		return
	}
	if name := os.Getenv("MAILCERTD_READS"); name != "" {
		list, _ := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		durable.TestOnlyBeforeRead(func(op, path string) error {
			_, _ = list.WriteString(op + " " + path + "\n")
			return nil
		})
	}
}

var errnos = map[string]syscall.Errno{"ENOSPC": unix.ENOSPC, "EIO": unix.EIO, "EROFS": unix.EROFS,
	"EMFILE": unix.EMFILE, "EACCES": unix.EACCES, "EDQUOT": unix.EDQUOT, "ENOMEM": unix.ENOMEM,
	"ENAMETOOLONG": unix.ENAMETOOLONG}
