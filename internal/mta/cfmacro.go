package mta

import (
	"os"
	"strings"
)

// macros are the values of the D lines of a cf (op.me, section 5.1.4), by name: a letter, or the text between braces.
type macros map[string]string

// mostNested bounds macros within macros, as in sendmail, which calls more a loop.
const mostNested = 50

// hostMacros are the macros that sendmail sets from the name of the host.
func hostMacros() macros {
	full, err := os.Hostname()
	if err != nil {
		return macros{}
	}
	short, domain, _ := strings.Cut(full, ".")
	return macros{"j": full, "w": short, "m": domain, "k": full}
}

// define reads a D line without its D: "Xvalue", "{Name}value".
func (m macros) define(text string) {
	if name, rest := macroName(text); name != "" {
		m[name] = rest
	}
}

// macroName splits off the name at the beginning: a letter, or {Name}.
func macroName(s string) (name, rest string) {
	if s == "" {
		return "", ""
	}
	if s[0] == '{' {
		if end := strings.IndexByte(s, '}'); end > 0 {
			return s[1:end], s[end+1:]
		}
	}
	return s[:1], s[1:]
}

// expand replaces $X and ${Name} by their values, an undefined one by nothing. Of $?X … $| … $. it takes the branch
// that X selects.
func (m macros) expand(s string) string { return m.expandTo(s, 0) }

func (m macros) expandTo(s string, depth int) string {
	if !strings.Contains(s, "$") || depth > mostNested {
		return s
	}
	var b strings.Builder
	skip, open := 0, 0 // conditionals that are false, and those that are open
	for s != "" {
		c := s[0]
		if c != '$' || len(s) < 2 {
			if skip == 0 {
				b.WriteByte(c)
			}
			s = s[1:]
			continue
		}
		name := ""
		switch s[1] {
		case '$':
			if skip == 0 {
				b.WriteByte('$')
			}
			s = s[2:]
		case '?':
			name, s = macroName(s[2:])
			open++
			if skip > 0 || m[name] == "" {
				skip++
			}
		case '|':
			if s = s[2:]; open > 0 && skip <= 1 {
				skip = 1 - skip
			}
		case '.':
			s = s[2:]
			open, skip = max(0, open-1), max(0, skip-1)
		case '&': // sendmail expands it when the value is used, which it does not do for options
			if skip == 0 {
				b.WriteString("$&")
			}
			s = s[2:]
		default:
			if name, s = macroName(s[1:]); skip == 0 {
				b.WriteString(m.expandTo(m[name], depth+1))
			}
		}
		if b.Len() > maxCF {
			break
		}
	}
	return b.String()
}
