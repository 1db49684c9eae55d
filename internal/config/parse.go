package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"mailcertd/internal/durable"
)

// maxFile bounds mailcertd.yaml, in bytes.
const maxFile = 1 << 20

// Error is one error in a configuration.
type Error struct {
	File string
	Line int    // from 1; 0: the file as a whole
	Key  string // dotted, "" for the file as a whole
	Text string // what is wrong, with the value found and the values allowed
}

func (e Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d", e.Line)
	}
	if e.Key != "" {
		s += ": " + e.Key
	}
	return s + ": " + e.Text
}

// Errors are all errors of a configuration, in the order of the lines.
type Errors []Error

func (e Errors) Error() string {
	var lines []string
	for _, x := range e {
		lines = append(lines, x.Error())
	}
	return strings.Join(lines, "\n")
}

// Load reads the configuration at path; a missing file gives the defaults.
// The error is of type Errors when the file could be read.
func Load(path, root string) (Config, error) {
	n := durable.Read(path, maxFile)
	switch {
	case n.Kind == durable.Missing && n.Err == nil, n.Kind == durable.Link && !n.Exists && n.Err == nil:
		c := Default(root)
		c.Path, c.Missing = path, true
		return c, nil
	case errors.Is(n.Err, durable.ErrTooLarge):
		return Config{}, Errors{{File: path, Text: fmt.Sprintf("is larger than %d bytes", maxFile)}}
	case errors.Is(n.Err, durable.ErrNotRegular):
		return Config{}, fmt.Errorf("%s: is not a regular file", path)
	case n.Err != nil:
		return Config{}, n.Err
	}
	return Parse(n.Data, path, root)
}

// Parse reads a configuration from memory; errors show name as the file.
func Parse(data []byte, name, root string) (Config, error) {
	c := Default(root)
	c.Path = name
	r := &reader{file: name}
	if len(data) > maxFile {
		r.fail(nil, "", "is larger than %d bytes", maxFile)
		return Config{}, r.errs
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return c, nil // an empty file, or one with comments alone
	}
	if err != nil {
		r.syntax(err)
		return Config{}, r.errs
	}
	var more yaml.Node
	switch err := dec.Decode(&more); {
	case err == nil:
		r.fail(&more, "", "a second YAML document starts here: there must be only one")
	case !errors.Is(err, io.EOF):
		r.syntax(err)
	}
	if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
		sections{r, &c}.top(doc.Content[0])
	}
	if len(r.errs) > 0 {
		sort.SliceStable(r.errs, func(i, j int) bool { return r.errs[i].Line < r.errs[j].Line })
		return Config{}, r.errs
	}
	return c, nil
}

// reader reads the values of the document, each in the form that its name says, and collects the errors.
type reader struct {
	file string
	errs Errors
}

func (r *reader) fail(n *yaml.Node, key, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	r.errs = append(r.errs, Error{File: r.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

// failed reports whether the value of a key was wrong. It has its default then, which says nothing about the document.
func (r *reader) failed(key string) bool {
	return slices.ContainsFunc(r.errs, func(e Error) bool { return e.Key == key })
}

// syntax takes the line number out of the YAML library's message.
func (r *reader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if _, scan := fmt.Sscanf(text, "line %d:", &line); scan == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	r.errs = append(r.errs, Error{File: r.file, Line: line, Text: "is not valid YAML: " + text})
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// field is one key of a mapping.
type field struct {
	name string
	read func(n *yaml.Node, key string)
}

// mapping reads n as a mapping with these keys and no others. A key without a value keeps its default.
func (r *reader) mapping(n *yaml.Node, at string, fields []field) {
	if n.Kind == yaml.AliasNode {
		r.fail(n, at, "YAML aliases are not allowed")
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, at, "is %s: must be a mapping of %s", kindOf(n), names(fields))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := join(at, k.Value)
		if k.Kind != yaml.ScalarNode {
			r.fail(k, at, "has a key that is not a word")
			continue
		}
		if first, twice := seen[k.Value]; twice {
			r.fail(k, key, "is set twice, the first time in line %d", first)
			continue
		}
		seen[k.Value] = k.Line
		f := find(fields, k.Value)
		switch {
		case f == nil:
			hint := ""
			if near := nearest(k.Value, fields); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			r.fail(k, key, "unknown key%s", or(hint, "; it must be one of "+names(fields)))
		case isNull(v):
		case v.Kind == yaml.AliasNode:
			r.fail(v, key, "YAML aliases are not allowed")
		default:
			f.read(v, key)
		}
	}
}

func find(fields []field, name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

func names(fields []field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
	}
	return strings.Join(out, ", ")
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}

// nearest is the key with the smallest edit distance to word, two at most; it makes the hint of an error.
func nearest(word string, fields []field) string {
	best, at := "", 3
	for _, f := range fields {
		if d := distance(word, f.name); d < at {
			best, at = f.name, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes; words longer than 64 count as far from all.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
