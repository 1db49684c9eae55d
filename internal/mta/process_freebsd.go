package mta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailcertd/internal/command"
)

// lookAt asks sysctl(3) for the executable and ps(1) for start, jail and state, because golang.org/x/sys has no
// kinfo_proc for FreeBSD. The start is rounded down to a second. The error is errNoProcess where there is no such
// process, or only a zombie.
func lookAt(ctx context.Context, pid int) (process, error) {
	var p process
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return p, errNoProcess
	}
	if raw, err := unix.SysctlRaw("kern.proc.pathname", pid); err == nil {
		p.exe = string(bytes.TrimRight(raw, "\x00"))
	}
	said, err := command.Command{Argv: []string{"/bin/ps", "-ww", "-p", strconv.Itoa(pid), "-o", "jid=", "-o", "state=",
		"-o", "lstart=", "-o", "comm="},
		Env: []string{"TZ=UTC", "LC_ALL=C"}, Patience: 10 * time.Second}.Run(ctx)
	out := said.Out
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(bytes.TrimSpace(out)) == 0 {
		return p, errNoProcess
	} else if err != nil {
		return p, err
	}
	f := strings.Fields(string(out))
	if len(f) < 7 {
		return p, fmt.Errorf("ps says %q", strings.TrimSpace(string(out)))
	}
	if strings.HasPrefix(f[1], "Z") {
		return p, errNoProcess
	}
	p.jail = f[0]
	p.command = strings.Join(f[7:], " ")
	p.started, err = time.Parse("Mon Jan 2 15:04:05 2006", strings.Join(f[2:7], " "))
	return p, err
}

// jailPath is the root of a jail in the file system of this process: "/" for a service jail.
func jailPath(ctx context.Context, jid string) (string, error) {
	said, err := command.Command{Argv: []string{"/usr/sbin/jls", "-j", jid, "path"},
		Patience: 10 * time.Second}.Run(ctx)
	if err != nil {
		return "", fmt.Errorf("jls: %w", err)
	}
	return strings.TrimSpace(string(said.Out)), nil
}

// localBase is the directory for ports, as in getlocalbase(3).
func localBase() string {
	if base, err := unix.Sysctl("user.localbase"); err == nil && strings.HasPrefix(base, "/") {
		return base
	}
	return "/usr/local"
}
