package mta

import (
	"fmt"
	"strings"

	"mailcertd/internal/durable"
)

// DefaultMailer is the program that mailwrapper(8) runs where there is no mailer.conf.
const DefaultMailer = "/usr/libexec/sendmail/sendmail"

// mailerConfs are the files that mailwrapper reads: the first that exists counts. Ports install theirs below LOCALBASE.
func mailerConfs() []string {
	return []string{localBase() + "/etc/mail/mailer.conf", "/etc/mail/mailer.conf"}
}

// wrapped returns the program that mailwrapper would run for a command, and the mailer.conf that names it; "" for none.
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

// mailerBlanks are the only characters that separate words in mailer.conf(5). In a file with CRLF line ends the
// carriage return becomes a part of the path.
const mailerBlanks = " \t\n"

// mailer returns the program that mailer.conf(5) names for a command. mailwrapper fails at the first entry that it
// cannot parse, so an earlier one is an error here too.
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

// confLines returns the lines as fparseln(3) does: a # begins a comment, and a backslash at the end of a line continues
// it with the next, unless another backslash is before it.
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
