// Package man holds the manual, and gives out what it says of a reason: the
// text of `mailcertd help REASON` is the one of mailcertd(8).
package man

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

// Source is mailcertd(8), in mdoc(7).
//
//go:embed mailcertd.8
var Source string

// Reason is what the manual says of one reason.
type Reason struct {
	Name   string // as it stands in brackets
	blocks []block
}

// block is a paragraph, or a command that stands on a line of its own.
type block struct {
	text    string
	command bool
}

var reasons = sync.OnceValue(func() []Reason {
	out, err := parse(Section("DIAGNOSTICS"))
	if err != nil {
		panic("mailcertd.8: " + err.Error()) // the tests parse every line of it
	}
	return out
})

// Reasons are all reasons of the manual, in its order.
func Reasons() []Reason { return reasons() }

// Find is the reason of that name, brackets or not.
func Find(name string) (Reason, bool) {
	name = strings.ToLower(strings.Trim(name, "[]"))
	for _, r := range Reasons() {
		if r.Name == name {
			return r, true
		}
	}
	return Reason{}, false
}

// Section is the source of one section, without its heading; "" for none.
func Section(title string) string {
	_, rest, found := strings.Cut(Source, "\n.Sh "+title+"\n")
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(rest, "\n.Sh ")
	return text
}

// parse reads the items of DIAGNOSTICS that have a reason.
func parse(source string) ([]Reason, error) {
	var out []Reason
	var in *Reason
	for n, line := range strings.Split(source, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case ".It":
			in = nil
			if len(f) == 3 && f[1] == "Bq" {
				out = append(out, Reason{Name: f[2]})
				in = &out[len(out)-1]
			}
			continue
		case ".El", ".Ss", ".Bl":
			in = nil
			continue
		}
		if in == nil {
			continue
		}
		if err := in.add(line); err != nil {
			return nil, fmt.Errorf("%s, line %d of the section: %w", in.Name, n+1, err)
		}
	}
	return out, nil
}

// add takes one line of the source.
func (r *Reason) add(line string) error {
	text, kind, err := plain(line)
	if err != nil {
		return err
	}
	last := len(r.blocks) - 1
	switch {
	case kind == apart:
		r.blocks = append(r.blocks, block{text: text, command: true})
	case kind == pause:
		r.blocks = append(r.blocks, block{})
	case last < 0 || r.blocks[last].command:
		r.blocks = append(r.blocks, block{text: text})
	default:
		r.blocks[last].text = strings.TrimSpace(r.blocks[last].text + " " + text)
	}
	return nil
}

// First is the first sentence.
func (r Reason) First() string {
	if len(r.blocks) == 0 {
		return ""
	}
	text := r.blocks[0].text
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i+1]
	}
	return text
}

// Text is the whole text, in lines of at most width characters; a command is
// never broken.
func (r Reason) Text(width int) string {
	var b strings.Builder
	for _, k := range r.blocks {
		if k.command {
			b.WriteString("      " + k.text + "\n")
			continue
		}
		b.WriteString(Fill(k.text, width, "  "))
	}
	return b.String()
}

// Fill breaks text into indented lines of at most width characters.
func Fill(text string, width int, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == indent:
		case len([]rune(line))+1+len([]rune(word)) > width:
			b.WriteString(line + "\n")
			line = indent
		default:
			line += " "
		}
		line += word
	}
	if line != indent {
		b.WriteString(line + "\n")
	}
	return b.String()
}
