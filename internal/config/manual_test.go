package config

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

const manual = "../../man/mailcertd.yaml.5"

// setting is one key as the parser describes it.
type setting struct {
	kind    string // the type of its value, with limits
	value   string // its default, as YAML in one line
	numbers string // "LOW to HIGH", "" where it takes no number
}

// complaints returns the errors of Parse for a key with this value.
func complaints(t *testing.T, key, value string) (texts []string) {
	t.Helper()
	doc := value
	parts := strings.Split(key, ".")
	for i := len(parts) - 1; i >= 0 && key != ""; i-- {
		doc = "{" + parts[i] + ": " + doc + "}"
	}
	_, err := Parse([]byte(doc), "c.yaml", "")
	var list Errors
	if err != nil && !errors.As(err, &list) {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Key == key || strings.HasPrefix(e.Key, key+".nonesuch") || key == "" {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

var (
	wantKeys   = regexp.MustCompile(`^unknown key; it must be one of (.*)$`)
	wantNumber = regexp.MustCompile(`must be a whole number from (\d+) to (\d+) \((.*)\)`)
	wantOr     = regexp.MustCompile(`must be (\w+), or a number of days from (\d+) to (\d+), such as`)
	wantItem   = regexp.MustCompile(`must be (\d+) to (\d+) (\w+)$`)
	wantList   = regexp.MustCompile(`must be a list of (.*), such as`)
	wantShort  = regexp.MustCompile(`must be at most (\d+) \(RFC`)
	wantOther  = regexp.MustCompile(`must be (.*)$`)
	isName     = regexp.MustCompile(`has a part that|contains the character`)
)

// kindOfSetting derives the type of a setting from the parser's errors for wrong values, so that the manual is compared
// with the parser itself.
func kindOfSetting(t *testing.T, key string) (kind, numbers string) {
	var all strings.Builder
	for _, v := range []string{"{nonesuch: 1}", "[0]", "[-a]", "-/relative -", strings.Repeat("x ", 100)} {
		all.WriteString(strings.Join(complaints(t, key, v), "\n") + "\n")
	}
	find := func(re *regexp.Regexp) []string {
		for line := range strings.SplitSeq(all.String(), "\n") {
			m := re.FindStringSubmatch(line)
			if m != nil && m[1] != "one value" && !strings.HasPrefix(m[1], "a mapping of") &&
				!strings.HasPrefix(line, "unknown key") {
				return m
			}
		}
		return nil
	}
	if m := find(wantNumber); m != nil && find(wantList) == nil {
		return "Number, " + m[1] + " to " + m[2] + " " + m[3], m[1] + " to " + m[2]
	}
	if m := find(wantOr); m != nil {
		return m[1] + ", or a number of days, " + m[2] + " to " + m[3] + ", such as 90", m[2] + " to " + m[3]
	}
	if m := find(wantList); m != nil {
		kind = "List of " + m[1]
		if i := find(wantItem); i != nil {
			return kind + ", " + i[1] + " to " + i[2] + " each", i[1] + " to " + i[2]
		}
		return kind, ""
	}
	if m := find(wantShort); m != nil {
		return "Text, at most " + m[1] + " characters", ""
	}
	if m := find(wantOther); m != nil {
		for _, word := range []string{"auto", `""`} {
			if m[1] == "an absolute path" && len(complaints(t, key, word)) == 0 {
				m[1] += ", or " + word
			}
		}
		// A word of the file is shown as it is written there.
		if regexp.MustCompile(`^(auto|letsencrypt|local|true)\b`).MatchString(m[1]) {
			return m[1], ""
		}
		return strings.ToUpper(m[1][:1]) + m[1][1:], ""
	}
	if isName.MatchString(all.String()) {
		return "Host name", ""
	}
	return "Text", ""
}

// settings returns all keys of the parser, from its errors.
func settings(t *testing.T) map[string]setting {
	t.Helper()
	c := Default("")
	c.Key.TypeSet = true
	defaults := flatten(t, c.YAML())
	c, err := Parse([]byte("issuer: {ssh: {target: ca}}"), "c.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range flatten(t, c.YAML()) {
		if strings.HasPrefix(k, "issuer.") {
			defaults[k] = v
		}
	}
	c, err = Parse([]byte("issuer: {acme: {agree_tos: true}}"), "c.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range flatten(t, c.YAML()) {
		if strings.HasPrefix(k, "issuer.") {
			defaults[k] = v
		}
	}
	if _, err := Parse([]byte("issuer: {acme: {}}"), "c.yaml", ""); err != nil {
		defaults["issuer.acme.agree_tos"] = "" // it has no default that may stay
	}
	c, err = Parse([]byte("client: {issuer: {ssh: {target: ca}}}"), "c.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range flatten(t, c.YAML()) {
		if strings.HasPrefix(k, "client.") {
			defaults[k] = v
		}
	}
	for _, key := range []string{"issuer.ssh.target", "client.issuer.ssh.target"} {
		if slices.Contains(complaints(t, key, `""`), "is missing: it must be the CA host, as ssh(1) takes it") {
			defaults[key] = "" // it has no default
		}
	}
	if _, err := Parse([]byte("client: {}"), "c.yaml", ""); err != nil {
		defaults["client.issuer"] = "" // it has no default either
	}
	all := map[string]setting{}
	var walk func(key string)
	walk = func(key string) {
		unknown := "{nonesuch: 1}"
		var children []string
		for _, text := range complaints(t, key, unknown) {
			if m := wantKeys.FindStringSubmatch(text); m != nil {
				children = strings.Split(m[1], ", ")
			}
		}
		for _, c := range children {
			walk(join(key, c))
		}
		if key == "" || children != nil && strings.Contains(strings.Join(complaints(t, key, "x"), ""),
			"must be a mapping") {
			return
		}
		kind, numbers := kindOfSetting(t, key)
		value, known := defaults[key]
		if !known {
			t.Errorf("%s is not printed by `mailcertd config`", key)
		}
		all[key] = setting{kind, value, numbers}
	}
	walk("")
	if len(all) < 40 {
		t.Fatalf("only %d settings were found", len(all))
	}
	return all
}

// flatten gives each scalar and list of a document its dotted key.
func flatten(t *testing.T, data []byte) map[string]string {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	var walk func(n *yaml.Node, key string)
	walk = func(n *yaml.Node, key string) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], join(key, n.Content[i].Value))
			}
			return
		}
		n.LineComment, n.HeadComment, n.FootComment = "", "", ""
		b, err := yaml.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		out[key] = strings.TrimSpace(string(b))
	}
	if len(doc.Content) == 1 {
		walk(doc.Content[0], "")
	}
	return out
}

// The manual has every key of the parser once, with its type, limits and default, and no other key.
func TestManual(t *testing.T) {
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	items := regexp.MustCompile(`(?m)^\.It Va (\S+)\n`).FindAllSubmatchIndex(data, -1)
	said := map[string]string{}
	for i, m := range items {
		end := len(data)
		if i+1 < len(items) {
			end = items[i+1][0]
		}
		key := string(data[m[2]:m[3]])
		if _, twice := said[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		said[key] = strings.Join(strings.Fields(string(data[m[1]:end])), " ")
	}
	for key, s := range settings(t) {
		text, there := said[key]
		if !there {
			t.Errorf("%s is not in the manual", key)
			continue
		}
		delete(said, key)
		want := strings.ReplaceAll(s.kind+". Default: .Ql "+s.value+" .", `"`, `\(dq`)
		if s.value == "" {
			want = s.kind + ". Required."
		}
		if !strings.HasPrefix(text+" ", want+" ") {
			t.Errorf("%s:\nwant %s\ngot  %s", key, want, text[:min(len(text), len(want)+20)])
		}
	}
	for key := range said {
		t.Errorf("%s is in the manual, but the parser does not know it", key)
	}
}

// Each example in the manual is a valid configuration; the first has every setting with its default.
func TestManualExamples(t *testing.T) {
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?ms)^\.Bd -literal.*?\n(.*?)^\.Ed$`).FindAllSubmatch(data, -1)
	if len(blocks) < 5 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for i, b := range blocks {
		if strings.Contains(string(b[1]), `\`) || regexp.MustCompile(`(?m)^[.']`).Match(b[1]) {
			t.Errorf("roff would not show this as it stands:\n%s", b[1])
		}
		c, err := Parse(b[1], "example", "")
		if err != nil {
			t.Errorf("%v\n%s", err, b[1])
			continue
		}
		again(t, c)
		if i == 0 {
			complete(t, "the first example", b[1])
		}
	}
}

// complete checks that a document has every setting, with its default.
func complete(t *testing.T, what string, data []byte) {
	t.Helper()
	got, want := flatten(t, data), map[string]string{}
	for key, s := range settings(t) {
		if !strings.HasPrefix(key, "issuer.") && !strings.HasPrefix(key, "client.") { // alternatives to a word
			want[key] = s.value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// The sample has every key with its default and the limits of numbers.
func TestSampleComplete(t *testing.T) {
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	open := regexp.MustCompile(`(?m)^#( *[a-z_]+:.*)$`).ReplaceAll(data, []byte("$1"))
	complete(t, sample, open)
	var doc yaml.Node
	if err := yaml.Unmarshal(open, &doc); err != nil {
		t.Fatal(err)
	}
	lines, at := strings.Split(string(open), "\n"), map[string]int{}
	var walk func(n *yaml.Node, key string)
	walk = func(n *yaml.Node, key string) {
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			k := join(key, n.Content[i].Value)
			at[k] = n.Content[i].Line - 1
			walk(n.Content[i+1], k)
		}
	}
	walk(doc.Content[0], "")
	starts := []int{}
	for _, line := range at {
		starts = append(starts, line)
	}
	for key, s := range settings(t) {
		line, there := at[key]
		if !there || s.numbers == "" {
			continue
		}
		var text strings.Builder
		text.WriteString(lines[line])
		for i := line + 1; i < len(lines) && lines[i] != "" && !slices.Contains(starts, i); i++ {
			text.WriteString("\n" + lines[i])
		}
		if got := regexp.MustCompile(`\d+ to \d+`).FindString(text.String()); got != s.numbers {
			t.Errorf("%s: want its bounds, %s, got %q:\n%s", key, s.numbers, got, text.String())
		}
	}
}

// Each word that a manual page marks as a setting is one.
func TestManualNames(t *testing.T) {
	known, seen := map[string]bool{}, 0
	for key := range settings(t) {
		for ; key != ""; key = key[:max(0, strings.LastIndexByte(key, '.'))] {
			known[key] = true
		}
	}
	for _, page := range []string{manual, "../../man/mailcertd.8"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.?Va ([a-z_]+(?:\.[a-z_]+)+)`).FindAllStringSubmatch(string(data), -1) {
			seen++
			if !known[m[1]] {
				t.Errorf("%s: there is no setting %s", page, m[1])
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d names were found", seen)
	}
}
