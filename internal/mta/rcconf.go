package mta

import (
	"slices"
	"strings"
)

// RCNames are the variables of rc.conf(5) with which rc.d/sendmail starts sendmail.
var RCNames = []string{"sendmail_enable", "sendmail_program", "sendmail_procname", "sendmail_pidfile", "sendmail_flags",
	"sendmail_submit_enable", "sendmail_submit_flags"}

// RC is how rc.conf starts sendmail. In the zero value it says nothing.
type RC struct {
	Program, Procname, PidFile string
	// Flags are the flags of the sendmail that listens, nil for none: those of sendmail_flags, or of
	// sendmail_submit_flags where only local programs may submit mail.
	Flags []string
}

// ReadRC interprets the variables of RCNames as rc.d/sendmail does.
func ReadRC(vars map[string]string) RC {
	rc := RC{Program: vars["sendmail_program"], Procname: vars["sendmail_procname"], PidFile: vars["sendmail_pidfile"]}
	yes := func(name string) bool {
		return slices.Contains([]string{"yes", "true", "on", "1"}, strings.ToLower(vars[name]))
	}
	switch {
	case yes("sendmail_enable"):
		rc.Flags = shellWords(vars["sendmail_flags"])
	case strings.EqualFold(vars["sendmail_enable"], "none"):
	case yes("sendmail_submit_enable"):
		rc.Flags = shellWords(vars["sendmail_submit_flags"])
	}
	return rc
}

// Argv is the command line of the sendmail that listens; nil for none.
func (rc RC) Argv() []string {
	if len(rc.Flags) == 0 {
		return nil
	}
	return append([]string{rc.Program}, rc.Flags...)
}

// ConfigFile is the cf that a command line names with -C; "" for none.
func ConfigFile(argv []string) string { return configFile(argv) }

// SameOptions says whether two command lines give sendmail the same options (-O, -o).
func SameOptions(a, b []string) bool { return slices.Equal(lineOptions(a), lineOptions(b)) }

// shellWords splits flags of rc.conf(5) into words as sh(1) does, which rc.subr(8) uses: quotes and backslashes keep
// blanks. It expands nothing.
func shellWords(text string) []string {
	var out []string
	var word strings.Builder
	quote, in := rune(0), false
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && !strings.ContainsRune("$`\"\\", r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case strings.ContainsRune(" \t\n", r):
			if in {
				out = append(out, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out
}
