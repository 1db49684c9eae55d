package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on.
const ticks = 100

// lookAt reads /proc/PID. The start is rounded down to a hundredth of a second. The error is errNoProcess where there
// is no such process, or only a zombie.
func lookAt(_ context.Context, pid int) (process, error) {
	var p process
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return p, errNoProcess
	} else if err != nil {
		return p, err
	}
	i := bytes.LastIndexByte(stat, ')') // the name may contain parentheses
	f := strings.Fields(string(stat[i+1:]))
	if len(f) < 20 {
		return p, fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	if f[0] == "Z" || f[0] == "X" {
		return p, errNoProcess
	}
	since, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil {
		return p, err
	}
	boot := BootTime()
	if boot.IsZero() {
		return p, errors.New("the time since the boot cannot be read")
	}
	p.started = boot.Add(time.Duration(since) * time.Second / ticks).Truncate(time.Second / ticks)
	p.exe, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return p, errNoProcess
	}
	return p, nil // exe is "" where this user may not read it
}

// jailPath always fails, because Linux has no jails.
func jailPath(context.Context, string) (string, error) { return "", errors.ErrUnsupported }

// localBase is the directory for ports.
func localBase() string { return "/usr/local" }
