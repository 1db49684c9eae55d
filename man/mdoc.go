package man

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of lines in the source.
const (
	running = iota // part of a paragraph
	apart          // a command on a line of its own
	pause          // between two paragraphs
)

// callable are the macros that mdoc(7) also recognizes in the middle of a line. DIAGNOSTICS has each on a line of its
// own, so that plain need not parse lines.
var callable = []string{"Aq", "Ar", "Bq", "Cm", "Dq", "Dv", "Em", "Ev", "Fl", "Ic", "Li", "Nm", "Ns", "Oc", "Oo", "Op",
	"Pa", "Pq", "Ql", "Sq", "Sx", "Sy", "Va", "Xr"}

// escapes replaces the escapes of roff(7) that the manual uses.
var escapes = strings.NewReplacer(`\&`, "", `\(aq`, "'", `\(dq`, `"`, `\(ga`, "`", `\-`, "-", `\e`, `\`)

// plain renders one line of the part of mdoc(7) that DIAGNOSTICS uses, as a terminal shows it. Any other macro is an
// error, because readers must not see it.
func plain(line string) (text string, kind int, err error) {
	if !strings.HasPrefix(line, ".") {
		return unescape(line, running)
	}
	macro, rest, _ := strings.Cut(line[1:], " ")
	args := strings.Fields(rest)
	for _, a := range args {
		if macro != "Dl" && slices.Contains(callable, a) {
			return "", 0, fmt.Errorf("%q: the macro %s is inside a line", line, a)
		}
	}
	var after string // punctuation, which mdoc(7) puts behind the word without a blank
	for len(args) > 1 && strings.Trim(args[len(args)-1], ".,:;)?!") == "" && macro != "Dl" {
		after = args[len(args)-1] + after
		args = args[:len(args)-1]
	}
	text = strings.Join(args, " ")
	switch macro {
	case "Pp":
		return "", pause, nil
	case "Dl":
		return unescape(strings.TrimSpace(rest), apart)
	case "Nm":
		if text == "" || strings.Trim(text, ".,:;)?!") == "" {
			text = "mailcertd" + text
		}
	case "Xr":
		if len(args) != 2 {
			return "", 0, fmt.Errorf("%q: want a page and a section", line)
		}
		text = args[0] + "(" + args[1] + ")"
	case "Fl":
		text = "-" + text
	case "Bq":
		text = "[" + text + "]"
	case "Dq":
		text = `"` + text + `"`
	case "Ql":
		text = "`" + text + "`"
	case "Sx": // a reader of `help REASON` has no sections before him
		text += " in mailcertd(8)"
	case "Ar", "Cm", "Dv", "Em", "Ev", "Ic", "Li", "Pa", "Sy", "Va":
	default:
		return "", 0, fmt.Errorf("%q: the macro %s is not known here", line, macro)
	}
	return unescape(text+after, running)
}

func unescape(text string, kind int) (string, int, error) {
	text = escapes.Replace(text)
	if kind == running && strings.Contains(text, `\`) {
		return "", 0, fmt.Errorf("%q: an escape that is not known here", text)
	}
	return text, kind, nil
}
