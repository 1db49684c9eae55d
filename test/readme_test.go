package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shown is everything that a page shows as code, in order: the lines of its blocks without their comments, the text
// between backquotes, and the first columns of its tables.
func shown(page string) (out []string) {
	columns := 0
	for line := range strings.SplitSeq(page, "\n") {
		if code, is := strings.CutPrefix(line, "    "); is {
			code, _, _ = strings.Cut(code, " # ")
			out = append(out, "    "+strings.TrimSpace(code))
			continue
		}
		if strings.HasPrefix(line, "## ") {
			out = append(out, "##")
		}
		if strings.HasPrefix(line, "|") {
			if columns++; columns > 2 { // after the heading and the line below it
				out = append(out, "| "+strings.TrimSpace(strings.Split(strings.ReplaceAll(line, `\|`, "/"), "|")[1]))
			}
		} else {
			columns = 0
		}
	}
	return out
}

// quotedIn counts the words between backquotes, those in comments of blocks too. Their order may differ, because the
// languages order words differently.
func quotedIn(page string) map[string]int {
	out := map[string]int{}
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(page, -1) {
		out[m[1]]++
	}
	return out
}

// README.ja.md must show the same sections, commands, tables and code words as README.md, whose commands TestReadme
// runs.
func TestReadmeInJapanese(t *testing.T) {
	var pages [2]string
	for i, name := range []string{"../README.md", "../README.ja.md"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[i] = string(data)
	}
	if n := len(shown(pages[0])); n < 40 {
		t.Fatalf("only %d pieces of code were found", n)
	}
	if diff := cmp.Diff(shown(pages[0]), shown(pages[1])); diff != "" {
		t.Errorf("sections, commands and tables (-README.md +README.ja.md):\n%s", diff)
	}
	if diff := cmp.Diff(quotedIn(pages[0]), quotedIn(pages[1])); diff != "" {
		t.Errorf("code in the text (-README.md +README.ja.md):\n%s", diff)
	}
}
