package test

import (
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// replaced are words that users met in earlier versions, each with what to write instead. A reader whose first language
// is not English must understand every sentence that mailcertd prints, and one thing has one word.
var replaced = []struct {
	words   *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\benrolled (hosts?|ones?)\b`), "member"},
	{regexp.MustCompile(`(?i)\bhost of the CA\b|\bCA's host\b`), "CA host"},
	{regexp.MustCompile(`(?i)\b(debts?|owed|owes|owing)\b`), "a pickup that is pending"},
	{regexp.MustCompile(`(?i)\b(slot|slots|office|authority)\b`), "pair, issuer or CA"},
	{regexp.MustCompile(`(?i)\barchived? (sets?|generations?)\b`), "backup"},
	{regexp.MustCompile(`\bGENERATION\b`), "backup"},
	{regexp.MustCompile(`(?i)\bstop-?gap\b|\btemporary (self-signed|certificate)`), "an interim certificate"},
	{regexp.MustCompile(`(?i)\bmend(s|ed|ing)?\b`), "repair, or correct"},
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bunasked\b`), "by itself"},
	{regexp.MustCompile(`(?i)\b(take|takes|taken|took) over\b`), "pick up, adopt or accept"},
	{regexp.MustCompile(`(?i)\b(lie|lies|stand|stands) (there|in|on|for|behind|beside)\b`), "is in, or contains"},
	{regexp.MustCompile(`(?i)\bwhat lies\b|\bwhat stands\b`), "the files on the disk"},
	{regexp.MustCompile(`(?i)\b(is|are) no (absolute|certificate|date|directory|file|host|link|member|name|number|` +
		`pair|program|reason|regular|request|serial|valid|word)\b`), "is not a …"},
	{regexp.MustCompile(`(?i)\bsigned for nothing\b|\bnot right\b|\bsaid again\b|\bsay (for|purge|what|--)`),
		"what happened"},
	{regexp.MustCompile(`(?i)\bnobody is there\b|\bis nobody's\b|\bcome to rest\b|\bhas rested\b`), "what happened"},
	{regexp.MustCompile(`(?i)\bcannot be (told|looked at)\b|\bcannot be seen from here\b`),
		"mailcertd cannot find out"},
	{regexp.MustCompile(`(?i)\bis over (soon|at)\b`), "expires"},
	{regexp.MustCompile(`(?i)\bverbs?\b`), "command"},
	{regexp.MustCompile(`(?i)\b(settles|brings it|brought it|puts one)\b`), "what to do: run …"},
	{regexp.MustCompile(`(?i)\bserves? on\b|\bwhoever\b|\bpassed over\b|\bheard of\b`), "plain words"},
	{regexp.MustCompile(`\b(wanted|configured) is\b|\bwant (%|small|a directory|one\b)|\bgot %s`), "…, must be …"},
	{regexp.MustCompile(`(?i)\bleads? (to|out|in)\b|\bvouch(es)?\b`), "contains, points to, or signed"},
	{regexp.MustCompile(`(?i)\blimits are wide\b|\bhands? in mail\b|\border would come to\b|\bas the CA wants it\b|` +
		`\bmakes it later\b|\bbegin with another\b|\bnot known (where|whether)\b|\bcould not be proved\b|` +
		`\basks for patience\b|\bwhat is said there\b`), "what happened, or what to do"},
	{regexp.MustCompile(`\babsent in\b|\bsendmail was told\b|\ball the same\b|\bno longer waited\b|\bis verify=OK\b`),
		"what happened, or what to do"},
}

// keepWords are sentences that keep such a word, each with the reason.
var keepWords = []struct{ text, why string }{
	{"certificate authority", "the field's own term, once in mailcertd(8)"},
	{"whoever else signs at this time cannot take the same one",
		"ca/conf.go: compared with what earlier versions wrote"},
	{"are taken over; what stands in the", "ca/conf.go: the same"},
	{"there is no name", "plain English"},
	{"[pickup-owed] and [notify-owed]", "CHANGELOG names the old reasons"},
	{"`owed`. The metric", "CHANGELOG names the old word"},
	{"no longer `stop-gap`", "the same"},
	{"was `mended`", "the same"},
	{"what was `debt`", "the same"},
	{`instead of "verb" and "flag"`, "the same"},
	{"Whoever has", "plain English at the beginning of a sentence"},
	{"whoever changed", "plain English"},
}

// description is the text of a member or type in a JSON schema.
var description = regexp.MustCompile(`"description": "([^"]*)"`)

// userTexts returns all texts that a user can read: pages, and those string literals of the program that are sentences.
func userTexts(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, pattern := range []string{"../man/*.[58]", "../etc/*.sample", "../etc/periodic/security/*", "../rc.d/*",
		"../README.md",
		"../docs/from-the-post.md", "../docs/lets-encrypt.md", "../docs/dane.md", "../docs/reliability.md",
		"../docs/*.json",
		"../CHANGELOG.md",
		"../ports/security/mailcertd/pkg-descr",
		"../ports/security/mailcertd/files/pkg-message.in"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(files))
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".json") { // the keys and enumerated words of a schema are those of the JSON
				for _, m := range description.FindAllStringSubmatch(string(data), -1) {
					out[name] = append(out[name], m[1])
				}
				continue
			}
			out[name] = strings.Split(strings.ReplaceAll(string(data), "\n\n", "\n"), "\n")
		}
	}
	for _, top := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				strings.HasPrefix(d.Name(), "arm_") || strings.Contains(path, "/given/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if b, is := n.(*ast.BasicLit); is && b.Kind == token.STRING {
					if s, err := strconv.Unquote(b.Value); err == nil && strings.Contains(s, " ") {
						out[path] = append(out[path], s)
					}
				}
				_, is := n.(*ast.ImportSpec)
				return !is
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestPlainWords(t *testing.T) {
	n := 0
	for name, texts := range userTexts(t) {
		for _, text := range texts {
			n++
			for _, k := range keepWords {
				text = strings.ReplaceAll(text, k.text, "")
			}
			for _, r := range replaced {
				if m := r.words.FindString(text); m != "" {
					t.Errorf("%s: %q in %q: write %s", name, m, text, r.instead)
				}
			}
		}
	}
	if n < 2000 {
		t.Errorf("only %d texts were read", n)
	}
}

// These phrases must not be in comments either, because an engineer must understand each sentence at once.
var notInComments = []struct {
	words   *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\benrolled hosts?\b`), "member"},
	{regexp.MustCompile(`(?i)\bhost of the CA\b|\bthe CA's host\b`), "CA host"},
	{regexp.MustCompile(`(?i)\b(debts?|owed|owes|owing)\b`), "a pickup that is pending"},
	{regexp.MustCompile(`(?i)\barchived (sets?|generations?)\b`), "backup"},
	{regexp.MustCompile(`(?i)\bstop-?gap\b|\btemporary (self-signed|certificate)`), "an interim certificate"},
	{regexp.MustCompile(`\bmend(s|ed|ing)?\b`), "repair, or correct"},
	{regexp.MustCompile(`(?i)\banew\b`), "again"},
	{regexp.MustCompile(`(?i)\bunasked\b`), "by itself"},
	{regexp.MustCompile(`(?i)\b(lie|lies|stand|stands) (there|in|on|beside|under|at)\b`), "is in, or contains"},
	{regexp.MustCompile(`(?i)\bwhat (lies|stands)\b`), "what is"},
	{regexp.MustCompile(`(?i)\bpassed over\b|\bcannot be (told|looked at)\b`), "skipped, is not known, cannot be read"},
	{regexp.MustCompile(`(?i)\bsigned for nothing\b|\bwhat was not right\b`), "what happened"},
	{regexp.MustCompile(`(?i)\b(that|which|what) (is|are) none\b|\bis (nobody|somebody)'s\b`), "what it is not"},
	{regexp.MustCompile(`(?i)\ball the same\b|\bfor want of\b|\bsave for\b|\bmakes? (it|everything) well\b`), "plain words"},
	{regexp.MustCompile(`(?i)\btells? of\b|\bgoes without saying\b`), "plain words"},
}

func TestPlainComments(t *testing.T) {
	n := 0
	for _, top := range []string{"../internal", "../cmd", "../man", "../scripts", "."} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			for _, group := range file.Comments {
				n++
				text := strings.Join(strings.Fields(group.Text()), " ")
				for _, r := range notInComments {
					if m := r.words.FindString(text); m != "" {
						t.Errorf("%s: %q in the comment %q: write %s", path, m, text, r.instead)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 2000 {
		t.Errorf("only %d comments were read", n)
	}
}

// TestNarrow: a line has at most 120 columns, where a tab counts as four. Lines of a raw string are exempt, because
// they hold other text, such as a script.
func TestNarrow(t *testing.T) {
	for _, top := range []string{"../internal", "../cmd", "../scripts", "../man", "."} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			data, err := os.ReadFile(path)
			raw := rawLines(data)
			for i, line := range strings.Split(string(data), "\n") {
				if utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")) > 120 && !raw[i+1] {
					t.Errorf("%s:%d: more than 120 columns", path, i+1)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// rawLines are the numbers of the lines of a Go file that a raw string touches.
func rawLines(src []byte) map[int]bool {
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return lines
		}
		if tok == token.STRING && lit[0] == '`' {
			for n := range strings.Count(lit, "\n") + 1 {
				lines[file.Line(pos)+n] = true
			}
		}
	}
}
