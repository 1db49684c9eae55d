package mta

import (
	"errors"
	"fmt"
	"path/filepath"
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
		return 0, nil, errors.New("the first line is not a process ID")
	}
	if pid < 2 || pid > 1<<22 { // 1 is init; no system has pids beyond (Linux: PID_MAX_LIMIT)
		return 0, nil, fmt.Errorf("%d cannot be the process ID of a daemon", pid)
	}
	second, _, _ := strings.Cut(rest, "\n")
	return pid, strings.Fields(second), nil
}

// listens says that a command line asks for a daemon that listens: -bd or -bD, or
// the name smtpd (sendmail(8)). -q without it is a queue runner alone.
func listens(argv []string) bool {
	if len(argv) > 0 && filepath.Base(argv[0]) == "smtpd" {
		return true
	}
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

// argumentLetters are sendmail's flags that take an argument, sendmail(8).
const argumentLetters = "ABCDFLMNOQRVXbefhopr"

// words is a command line one flag each, "-b d" as "-bd" and "-Gi" as "-G" and "-i"; argv[0] and what is no flag are
// left out. -q and -d take only what directly follows them.
func words(argv []string) []string {
	var out []string
	for i := 1; i < len(argv); i++ {
		a := argv[i]
		if len(a) < 2 || a[0] != '-' {
			// The pid file has no quotes: "-ODaemonPortOptions=Name=A, Port=25".
			if n := len(out); n > 0 && strings.HasPrefix(out[n-1], "-O") && strings.HasSuffix(out[n-1], ",") {
				out[n-1] += " " + a
			}
			continue
		}
		for rest := a[1:]; rest != ""; rest = rest[1:] {
			if rest[0] == 'q' || rest[0] == 'd' {
				out = append(out, "-"+rest)
				break
			}
			if strings.IndexByte(argumentLetters, rest[0]) < 0 {
				out = append(out, "-"+rest[:1])
				continue
			}
			flag := "-" + rest
			if len(rest) == 1 && i+1 < len(argv) {
				i++
				flag += argv[i]
			}
			out = append(out, flag)
			break
		}
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
