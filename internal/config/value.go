package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"mailcertd/internal/pki"
)

// text reads a scalar as written, number or word. Control characters are refused, because the value ends up in
// certificates, paths and command lines.
func (r *reader) text(n *yaml.Node, key string, to *string) bool {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, key, "is %s: must be one value", kindOf(n))
		return false
	}
	if i := strings.IndexFunc(n.Value, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }); i >= 0 {
		r.fail(n, key, "%q contains a control character", n.Value)
		return false
	}
	*to = n.Value
	return true
}

func (r *reader) number(n *yaml.Node, key string, low, high int, unit string, to *int) bool {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		r.fail(n, key, "is %s: must be a whole number from %d to %d (%s)", kindOf(n), low, high, unit)
		return false
	}
	if v < low || v > high {
		r.fail(n, key, "is %d: must be %d to %d %s", v, low, high, unit)
		return false
	}
	*to = v
	return true
}

func (r *reader) boolean(n *yaml.Node, key string, to *bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.fail(n, key, "is %s: must be true or false", kindOf(n))
		return
	}
	*to = strings.EqualFold(n.Value, "true")
}

func (r *reader) oneOf(n *yaml.Node, key string, to *string, allowed ...string) bool {
	if n.Kind == yaml.ScalarNode && slices.Contains(allowed, n.Value) {
		*to = n.Value
		return true
	}
	r.fail(n, key, "is %s: must be one of %s", kindOf(n), strings.Join(allowed, ", "))
	return false
}

func (r *reader) keyType(n *yaml.Node, key string, to *pki.KeyType) bool {
	var words []string
	for _, t := range pki.KeyTypes() {
		words = append(words, string(t))
	}
	var s string
	if !r.oneOf(n, key, &s, words...) {
		return false
	}
	*to = pki.KeyType(s)
	return true
}

// secondType reads a key type, or none for no second pair.
func (r *reader) secondType(n *yaml.Node, key string, to *pki.KeyType) {
	words := []string{"none"}
	for _, t := range pki.KeyTypes() {
		words = append(words, string(t))
	}
	var s string
	if r.oneOf(n, key, &s, words...) && s != "none" {
		*to = pki.KeyType(s)
	}
}

// daysOr reads a number of days, or the word for the default.
func (r *reader) daysOr(n *yaml.Node, key, word string, high int, to *time.Duration) {
	if n.Kind == yaml.ScalarNode && n.Value == word {
		*to = 0
		return
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		r.fail(n, key, "is %s: must be %s, or a number of days from 1 to %d, such as 90", kindOf(n), word, high)
		return
	}
	var days int
	if r.number(n, key, 1, high, "days", &days) {
		*to = time.Duration(days) * 24 * time.Hour
	}
}

func (r *reader) list(n *yaml.Node, key, of string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		example := "[a, b]"
		switch of {
		case "days":
			example = "[30, 14, 7]"
		case "commands":
			example = "[[service, dovecot, reload]]"
		case "words":
			example = "[service, dovecot, reload], which makes one command"
		}
		r.fail(n, key, "is %s: must be a list of %s, such as %s", kindOf(n), of, example)
		return nil
	}
	for _, x := range n.Content {
		if x.Kind == yaml.AliasNode {
			r.fail(x, key, "YAML aliases are not allowed")
			return nil
		}
	}
	return n.Content
}

func (r *reader) warnDays(n *yaml.Node, key string, to *[]int) {
	items := r.list(n, key, "days")
	if n.Kind != yaml.SequenceNode {
		return
	}
	out := []int{}
	for _, x := range items {
		var d int
		if !r.number(x, key, 1, maxLeafDays, "days", &d) {
			return
		}
		out = append(out, d)
	}
	slices.Sort(out)
	slices.Reverse(out)
	*to = slices.Compact(out)
}

func (r *reader) command(n *yaml.Node, key string, to *[]string) {
	var out []string
	for _, x := range r.list(n, key, "words") {
		var s string
		if !r.text(x, key, &s) {
			return
		}
		out = append(out, s)
	}
	if len(out) > 0 && out[0] == "" {
		r.fail(n, key, "its first word is empty: it must be a program")
		return
	}
	*to = out
}

func (r *reader) commands(n *yaml.Node, key string, to *[][]string) {
	for _, x := range r.list(n, key, "commands") {
		var argv []string
		r.command(x, key, &argv)
		if len(argv) > 0 {
			*to = append(*to, argv)
		} else if x.Kind == yaml.SequenceNode {
			r.fail(x, key, "contains an empty command")
		}
	}
}

// in reads a text in a form.
func (r *reader) in(f form, to *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		var s string
		if !r.text(n, key, &s) {
			return
		}
		v, err := f(s)
		if err != nil {
			r.fail(n, key, "%v", err)
			return
		}
		*to = v
	}
}

// listIn reads a list of at most that many texts in a form; 0 means any number. of says what they are.
func (r *reader) listIn(f form, of string, most int, to *[]string) func(*yaml.Node, string) {
	return func(n *yaml.Node, key string) {
		items := r.list(n, key, of)
		if most > 0 && len(items) > most {
			r.fail(n, key, "has %d %s: must have at most %d", len(items), of, most)
			return
		}
		for _, x := range items {
			before, v := len(r.errs), ""
			if r.in(f, &v)(x, key); len(r.errs) == before {
				*to = append(*to, v)
			}
		}
	}
}

// subject reads the parts of a subject.
func (r *reader) subject(n *yaml.Node, key string, s *Subject) {
	r.mapping(n, key, []field{
		{"country", r.in(optional(country), &s.Country)},
		{"state", r.in(subjectPart(128), &s.State)},
		{"locality", r.in(subjectPart(128), &s.Locality)},
		{"organization", r.in(subjectPart(64), &s.Organization)},
		{"organizational_unit", r.in(subjectPart(64), &s.OrganizationalUnit)},
		{"common_name", r.in(subjectPart(64), &s.CommonName)},
	})
}
