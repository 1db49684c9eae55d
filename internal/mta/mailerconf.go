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

// mailerBlanks separate the words of mailer.conf(5), and nothing else does: with
// CRLF line ends the carriage return is part of the path.
const mailerBlanks = " \t\n"

// mailer finds the program that mailer.conf(5) names for a command. A line that
// cannot be read, before it, ends mailwrapper.
func mailer(conf []byte, command string) (string, error) {
	for i, line := range confLines(string(conf)) {
		line = strings.TrimLeft(line, mailerBlanks)
		if line == "" {
			continue
		}
		end := strings.IndexAny(line, mailerBlanks)
		if end < 0 {
			return "", fmt.Errorf("entry %d names no program for %s, and mailwrapper stops there", i+1, line)
		}
		if line[:end] != command {
			continue
		}
		program := strings.TrimLeft(line[end:], mailerBlanks)
		if at := strings.IndexAny(program, mailerBlanks); at >= 0 {
			program = program[:at]
		}
		if program == "" || strings.ContainsRune(program, '\r') {
			return "", fmt.Errorf("entry %d names %q for %s, which is not a program", i+1, program, command)
		}
		return program, nil
	}
	return "", fmt.Errorf("it names no program for %s", command)
}

// confLines are the lines as fparseln(3) gives them: a # begins a comment and a
// backslash at the end goes on with the next line, unless a backslash stands
// before it.
func confLines(text string) []string {
	var out []string
	more := false
	for line := range strings.SplitSeq(text, "\n") {
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
