package mta

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxPidFile bounds pid file and mailer.conf, in bytes.
const maxPidFile = 64 << 10

// ParsePidFile reads sendmail's pid file: the pid, then the command line.
func ParsePidFile(data []byte) (pid int, argv []string, err error) {
	first, rest, _ := strings.Cut(string(data), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0, nil, errors.New("the first line is no process ID")
	}
	if pid < 2 || pid > 1<<22 { // 1 is init; no system has pids beyond (Linux: PID_MAX_LIMIT)
		return 0, nil, fmt.Errorf("%d is no process ID of a daemon", pid)
	}
	second, _, _ := strings.Cut(rest, "\n")
	return pid, strings.Fields(second), nil
}

// listens says that a command line asks for a daemon that listens: -bd or -bD.
// -q without it is a queue runner alone.
func listens(argv []string) bool {
	for _, a := range words(argv) {
		if a == "-bd" || a == "-bD" {
			return true
		}
	}
	return false
}

// foreground says -bD: sendmail keeps its pid at a HUP.
func foreground(argv []string) bool {
	on := false
	for _, a := range words(argv) {
		switch a {
		case "-bD":
			on = true
		case "-bd":
			on = false
		}
	}
	return on
}

// words joins "-b d" to "-bd" and leaves argv[0] out.
func words(argv []string) []string {
	var out []string
	for i := 1; i < len(argv); i++ {
		a := argv[i]
		if (a == "-b" || a == "-C") && i+1 < len(argv) {
			i++
			a += argv[i]
		}
		out = append(out, a)
	}
	return out
}

// configFile is the file that -C names, "" without one.
func configFile(argv []string) string {
	cf := ""
	for _, a := range words(argv) {
		if f, ok := strings.CutPrefix(a, "-C"); ok && f != "" {
			cf = f
		}
	}
	return cf
}

// mailer finds the program that mailer.conf(5) names for a command, "" when it
// names none.
func mailer(conf []byte, command string) string {
	for _, line := range strings.Split(string(conf), "\n") {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == command {
			return f[1]
		}
	}
	return ""
}
