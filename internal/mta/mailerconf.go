package mta

import (
	"fmt"
	"strings"

	"mailcertd/internal/durable"
)

// DefaultMailer is what mailwrapper(8) runs without a mailer.conf.
const DefaultMailer = "/usr/libexec/sendmail/sendmail"

// mailerConfs are where mailwrapper looks for its mailer.conf, the first that
// is there counts: ports put theirs below LOCALBASE.
func mailerConfs() []string {
	return []string{localBase() + "/etc/mail/mailer.conf", "/etc/mail/mailer.conf"}
}

// wrapped is the program that mailwrapper would run for a command, and the
// mailer.conf that says so, "" for none.
func wrapped(confs []string, command string) (program, conf string, err error) {
	for _, path := range confs {
		n := durable.Read(path, maxPidFile)
		if n.Err != nil {
			return "", path, n.Err
		}
		if !n.Exists {
			continue
		}
		program, err := mailer(n.Data, command)
		if err != nil {
			return "", path, fmt.Errorf("%s: %w", path, err)
		}
		return program, path, nil
	}
	return DefaultMailer, "", nil
}

// mailer finds the program that mailer.conf(5) names for a command. A line that
// cannot be read, before it, ends mailwrapper.
func mailer(conf []byte, command string) (string, error) {
	for i, line := range confLines(string(conf)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case len(f) == 1:
			return "", fmt.Errorf("entry %d names no program for %s: mailwrapper reads no further", i+1, f[0])
		case f[0] == command:
			return f[1], nil
		}
	}
	return "", fmt.Errorf("it names no program for %s", command)
}

// confLines are the lines as fparseln(3) gives them: a # begins a comment and a
// backslash at the end goes on with the next line, unless a backslash stands
// before it.
func confLines(text string) []string {
	var out []string
	more := false
	for _, line := range strings.Split(text, "\n") {
		for i := range len(line) {
			if line[i] == '#' && !escaped(line, i) {
				line = line[:i]
				break
			}
		}
		last := len(line) - 1
		goesOn := last >= 0 && line[last] == '\\' && !escaped(line, last)
		if goesOn {
			line = line[:last]
		}
		if more {
			out[len(out)-1] += line
		} else {
			out = append(out, line)
		}
		more = goesOn
	}
	return out
}

func escaped(line string, at int) bool {
	n := 0
	for at > n && line[at-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}
