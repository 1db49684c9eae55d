package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// block is one code block of the document.
type block struct {
	line             int
	lang, kind, host string // from the block's info string
	file             string // the file that a block of YAML or of named.conf is written to
	text             string
	section          string
}

// These documents show each manual step beside the command that replaces it.
const (
	postPage    = "../docs/from-the-post.md"
	encryptPage = "../docs/lets-encrypt.md"
	danePage    = "../docs/dane.md"
)

// readPage returns every code block of such a page.
func readPage(t *testing.T, page string) []block {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var in *block
	section := ""
	for i, line := range strings.Split(string(data), "\n") {
		switch info, fence := strings.CutPrefix(line, "```"); {
		case fence && in != nil:
			blocks = append(blocks, *in)
			in = nil
		case fence:
			f := append(strings.Fields(info), "", "", "", "")
			in = &block{line: i + 1, lang: f[0], kind: f[1], host: f[2], file: f[3], section: section}
		case in != nil:
			in.text += line + "\n"
		case strings.HasPrefix(line, "#"):
			section = strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "":
			t.Errorf("line %d: no test runs an indented block: %q", i+1, line)
		}
	}
	if in != nil || len(blocks) == 0 {
		t.Fatal("a code block that does not end, or none")
	}
	return blocks
}

// commandsIn returns the mailcertd commands that a line of the README shows as code, in its table of commands or in its
// text.
func commandsIn(line string) (all []string) {
	quoted := regexp.MustCompile("`([^`]+)`")
	switch {
	case strings.HasPrefix(line, "    "):
		code, _, _ := strings.Cut(line, "  #")
		for _, part := range regexp.MustCompile(`\||&&|>|<`).Split(code, -1) {
			if i := strings.Index(part, "mailcertd "); i > 0 && part[i-1] == ' ' &&
				!strings.Contains(part, "service ") {
				all = append(all, part[i:])
			}
		}
	case strings.HasPrefix(line, "| `"):
		column := strings.SplitN(strings.ReplaceAll(line, `\|`, "/"), "|", 3)[1]
		for _, c := range quoted.FindAllStringSubmatch(column, -1) {
			all = append(all, "mailcertd "+strings.NewReplacer("[", "", "]", "", "...", "").Replace(c[1]))
		}
	default:
		for _, c := range quoted.FindAllStringSubmatch(line, -1) {
			if strings.HasPrefix(c[1], "mailcertd ") {
				all = append(all, c[1])
			}
		}
	}
	return all
}

// mailcertd must know every command that the README and these documents show, and the README's table must have every
// command.
func TestReadme(t *testing.T) {
	t.Parallel()
	m, seen, table := bed.Binary(t, ""), 0, map[string]bool{}
	for _, path := range []string{"../README.md", postPage, encryptPage, danePage} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, c := range commandsIn(line) {
				seen++
				args := strings.Fields(strings.ReplaceAll(c, "'", ""))[1:]
				verb := args[0]
				if verb == "ca" && len(args) > 1 {
					verb += " " + args[1]
				}
				table[verb] = table[verb] || strings.HasPrefix(line, "|")
				out, err := exec.Command(m, append(args, "--help")...).CombinedOutput()
				// cobra shows the help of the nearest command that it knows.
				if err != nil || verb != "help" && !regexp.MustCompile(`(?m)^  mailcertd `+verb+`( |$)`).Match(out) {
					t.Errorf("%s:%d: %s: %v\n%s", path, i+1, c, err, out)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d commands were found", seen)
	}
	for _, prefix := range []string{"", "ca "} {
		out, err := exec.Command(m, append(strings.Fields(prefix), "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, list, _ := strings.Cut(string(out), "Available Commands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.SplitSeq(list, "\n") {
			if strings.HasPrefix(line, "   ") { // the description goes on
				continue
			}
			if verb := prefix + strings.Fields(line + " ?")[0]; verb != "ca" && !table[verb] {
				t.Errorf("the table of verbs lacks %s", verb)
			}
		}
	}
}
