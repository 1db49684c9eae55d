// Package page draws the values of package report for people: bars, times, widths, colours.
package page

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"mailcertd/internal/text"
)

// Page is a text for people. Except for verbatim lines no line is wider than Width. Only printable characters and the
// page's own colours are printed: the subject of a certificate must not command a terminal. A Page does no I/O; time,
// zone and terminal are given to it.
type Page struct {
	Width  int // columns
	Colour bool
	Zone   *time.Location
	Now    time.Time
	lines  []string
	bars   bool // a bar was drawn, so the legend follows
}

// labelWidth is the column where the text of a row begins.
const labelWidth = 14

// ink is an SGR parameter of ECMA-48; "" is the terminal's own.
type ink string

// The inks. The eight old colours are the ones that vt(4) has, too.
const (
	noInk  ink = ""
	bold   ink = "1"
	red    ink = "31"
	green  ink = "32"
	yellow ink = "33"
)

func (p *Page) paint(s string, with ink) string {
	if !p.Colour || with == noInk || s == "" {
		return s
	}
	return "\x1b[" + string(with) + "m" + s + "\x1b[0m"
}

// Print prints the page.
func (p *Page) Print(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(p.lines, "\n")+"\n")
	return err
}

// gap adds an empty line between groups; never two, and none at the top.
func (p *Page) gap() {
	if n := len(p.lines); n > 0 && p.lines[n-1] != "" {
		p.lines = append(p.lines, "")
	}
}

// row adds a label and a text beside it, on as many lines as it needs.
func (p *Page) row(label, format string, args ...any) { p.inked(noInk, noInk, label, format, args...) }

func (p *Page) inked(ofLabel, ofText ink, label, format string, args ...any) {
	for i, line := range Wrap(fmt.Sprintf(format, args...), p.Width-labelWidth) {
		p.labelled(ofLabel, label, p.paint(line, ofText), i == 0)
	}
}

// labelled adds one line, which it does not wrap. The first line has the label before it.
func (p *Page) labelled(of ink, label, line string, first bool) {
	if !first {
		label = ""
	}
	gap := strings.Repeat(" ", labelWidth-len(label))
	p.lines = append(p.lines, strings.TrimRight(p.paint(label, of)+gap+line, " "))
}

// verbatim adds a text that a person will copy: cleaned like all others, but on one line of any width.
func (p *Page) verbatim(label, text string) {
	p.labelled(noInk, label, Clean(text), true)
}

// hanging adds a text whose further lines are indented.
func (p *Page) hanging(first ink, head, indent, text string) {
	for i, line := range Wrap(text, p.Width-max(len(head), len(indent))) {
		if i == 0 {
			p.lines = append(p.lines, p.paint(head, first)+line)
		} else {
			p.lines = append(p.lines, indent+line)
		}
	}
}

// local converts the times in a message to the page's zone, and names the zone: a message is also read in a mail
// or a ticket, where nobody knows which zone the host has.
func (p *Page) local(message string) string {
	return text.EachMoment(message, func(t time.Time) string { return t.In(p.Zone).Format("2006-01-02 15:04 MST") })
}

// day and minute print t in the page's zone.
func (p *Page) day(t time.Time) string    { return t.In(p.Zone).Format("2006-01-02") }
func (p *Page) minute(t time.Time) string { return t.In(p.Zone).Format("2006-01-02 15:04") }

// Clean makes a text harmless: characters that a terminal would not print, or would print over others, become their
// codes. The lines of an error with several are joined.
func Clean(s string) string {
	var b strings.Builder
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02X`, s[i])
		case r == '\n':
			b.WriteString("; ")
		case r == '\t' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case unicode.IsPrint(r) && !unicode.Is(unicode.Variation_Selector, r): // variation selectors change the width
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	return b.String()
}

// CleanLines cleans each line of a text that has several.
func CleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// columns is the width of a clean text: two for East Asian wide characters (UAX #11), none for combining ones.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Wrap breaks a text into lines of at most that many columns, and breaks words that are longer. It returns at least one
// line.
func Wrap(text string, most int) []string {
	var lines []string
	line, used := "", 0
	flush := func() {
		lines = append(lines, strings.TrimRight(line, " "))
		line, used = "", 0
	}
	for word := range strings.SplitSeq(strings.TrimSpace(Clean(text)), " ") {
		w := columns(word)
		if line != "" && used+1+w > most {
			flush()
		} else if line != "" {
			line, used = line+" ", used+1
		}
		for _, r := range word {
			if c := runeColumns(r); used+c > most {
				flush()
			}
			line, used = line+string(r), used+runeColumns(r)
		}
	}
	flush()
	return lines
}

// someNames lists names on few lines: always the first one, and how many are left out.
func someNames(names []string, most, lines int) string {
	text, left := "", len(names)
	for i, n := range names {
		next := n
		if i > 0 {
			next = text + ", " + n
		}
		with := next
		if left > 1 {
			with = fmt.Sprintf("%s and %d more", next, left-1)
		}
		if i > 0 && len(Wrap(with, most)) > lines {
			return fmt.Sprintf("%s and %d more", text, left)
		}
		text, left = next, left-1
	}
	return cmp.Or(text, "no name")
}

// Widths of pages, in columns.
const (
	Narrowest  = 60
	Widest     = 100
	WithoutTTY = 80 // files, pipes, mails
)
