// Package man has the manual, and returns what it says about a reason: `mailcertd help REASON` prints the text of
// mailcertd(8).
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

// Reason is what the manual says about one reason.
type Reason struct {
	Name   string // without its brackets
	blocks []block
}

// block is a paragraph, or a command on a line of its own.
type block struct {
	text    string
	command bool
}

var reasons = sync.OnceValue(func() []Reason {
	out, err := parse(Section("DIAGNOSTICS"))
	if err != nil {
		panic("mailcertd.8: " + err.Error()) // cannot happen, because a test parses the manual
	}
	return out
})

// Reasons returns all reasons of the manual, in the manual's order.
func Reasons() []Reason { return reasons() }

// Find returns the reason with that name, with or without brackets, and whether there is one.
func Find(name string) (Reason, bool) {
	name = strings.ToLower(strings.Trim(name, "[]"))
	for _, r := range Reasons() {
		if r.Name == name {
			return r, true
		}
	}
	return Reason{}, false
}

// Section returns the mdoc(7) source of one section, without its heading; "" where there is no such section.
func Section(title string) string {
	_, rest, found := strings.Cut(Source, "\n.Sh "+title+"\n")
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(rest, "\n.Sh ")
	return text
}

// parse reads the items of DIAGNOSTICS, each of which describes a reason.
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

// add appends one line of the source.
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

// First returns the first sentence.
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

// Text returns the whole text, in lines of at most width characters. A command stays on one line, even if it is longer.
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

// Fill breaks text into lines of at most width characters, each after indent.
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
