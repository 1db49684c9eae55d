package mta

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// maxPidFile bounds a pid file and a mailer.conf, in octets.
const maxPidFile = 64 << 10

// parsePidFile parses sendmail's pid file: the pid, then the command line.
func parsePidFile(data []byte) (pid int, argv []string, err error) {
	first, rest, _ := strings.Cut(string(data), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0, nil, errors.New("the first line is not a process ID")
	}
	if pid < 2 || pid > 1<<22 { // 1 is init; the maximum is that of Linux, PID_MAX_LIMIT
		return 0, nil, fmt.Errorf("%d cannot be the process ID of a daemon", pid)
	}
	second, _, _ := strings.Cut(rest, "\n")
	return pid, strings.Fields(second), nil
}

// listens says whether a command line starts a daemon that listens: -bd or -bD, or the name smtpd (sendmail(8)). With
// -q and without these it is only a queue runner.
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

// foreground says whether the command line has -bD, with which sendmail keeps its pid when it gets a HUP.
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

// argumentLetters are the flags of sendmail(8) that take an argument.
const argumentLetters = "ABCDFLMNOQRVXbefhopr"

// words returns the flags of a command line, one by one: "-b d" becomes "-bd", and "-Gi" becomes "-G" and "-i". It
// leaves out argv[0] and everything that is not a flag. -q and -d take only an argument that follows without a blank.
func words(argv []string) []string {
	var out []string
	for i := 1; i < len(argv); i++ {
		a := argv[i]
		if len(a) < 2 || a[0] != '-' {
			// The pid file has no quotes, so a value with a blank is split: "-ODaemonPortOptions=Name=A, Port=25".
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

// configFile is the file that -C names; "" without -C.
func configFile(argv []string) string {
	cf := ""
	for _, a := range words(argv) {
		if f, ok := strings.CutPrefix(a, "-C"); ok && f != "" {
			cf = f
		}
	}
	return cf
}
