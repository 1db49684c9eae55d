// Package text makes the words of other programs and hosts fit into one line of a message, short and printable, and has
// the one form in which messages write a time.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clip returns s, or its first octets and three dots where it is longer than most.
func Clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// OneLine returns s on one line of at most that many octets, with blanks in place of unprintable characters.
func OneLine(s string, most int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s))
	if len(s) > most {
		s = Clip(s, most-3)
	}
	return s
}

// Escaped returns s on one line with its control characters as codes, so that it cannot add lines to a log.
func Escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n' || c == '\t':
			b.WriteByte(' ')
		case c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0:
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
