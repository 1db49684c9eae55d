package man

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leak matches what a person must never see of mdoc(7): a macro, an escape, or punctuation that has lost its word.
var leak = regexp.MustCompile(`(?m)\\|^\s*\.\w|\s\.[A-Z][a-z]\b|\s[,;:.)](\s|$)|\(\s|\w- |^\s*$`)

func TestNothingOfMdocIsSeen(t *testing.T) {
	if len(Reasons()) < 50 {
		t.Fatalf("%d reasons", len(Reasons()))
	}
	for _, r := range Reasons() {
		for _, width := range []int{40, 78, 80} {
			text := r.Text(width)
			if m := leak.FindString(text); m != "" {
				t.Errorf("%s: %q in\n%s", r.Name, m, text)
			}
			for line := range strings.SplitSeq(text, "\n") {
				command := strings.HasPrefix(line, "      ")
				if len([]rune(line)) > width && !command {
					t.Errorf("%s: %d characters, want %d at the most: %q", r.Name, len([]rune(line)), width, line)
				}
				for word := range strings.FieldsSeq(line) {
					if slices.Contains(callable, word) {
						t.Errorf("%s: the macro %s in %q", r.Name, word, line)
					}
				}
			}
		}
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		first := r.First()
		if seen[r.Name] || !strings.HasSuffix(first, ".") || len(first) < 15 || len(first) > 140 {
			t.Errorf("%s: twice, or a first sentence that is not a sentence: %q", r.Name, first)
		}
		seen[r.Name] = true
		if n := strings.Count(r.Text(78), "\n"); n > 9 {
			t.Errorf("%s: %d lines: too long for a reader who has a problem to solve", r.Name, n)
		}
		for _, name := range []string{r.Name, "[" + r.Name + "]", strings.ToUpper(r.Name)} {
			if got, ok := Find(name); !ok || got.Name != r.Name {
				t.Errorf("%s is not found as %s", r.Name, name)
			}
		}
	}
	if _, ok := Find("no-such-reason"); ok {
		t.Error("a reason that does not exist is found")
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		line, want string
		kind       int
		bad        bool
	}{
		{line: "a plain line.", want: "a plain line."},
		{line: `it\(aqs \&.x`, want: "it's .x"},
		{line: ".Ql mailcertd check .", want: "`mailcertd check`."},
		{line: ".Pa /etc/mail ) .", want: "/etc/mail)."},
		{line: ".Fl -rekey ,", want: "--rekey,"},
		{line: ".Nm", want: "mailcertd"},
		{line: ".Nm :", want: "mailcertd:"},
		{line: ".Xr rc.conf 5 ,", want: "rc.conf(5),"},
		{line: ".Bq due", want: "[due]"},
		{line: ".Sx SECURITY CONSIDERATIONS .", want: "SECURITY CONSIDERATIONS in mailcertd(8)."},
		{line: ".Dl chmod 0600 FILE ;", want: "chmod 0600 FILE ;", kind: apart},
		{line: ".Pp", kind: pause},
		{line: ".Bd -literal", bad: true},
		{line: ".Ql mailcertd Ar x", bad: true},
		{line: `a \fBbold\fP word`, bad: true},
		{line: ".Xr mail", bad: true},
	} {
		got, kind, err := plain(c.line)
		if (err != nil) != c.bad || !c.bad && (got != c.want || kind != c.kind) {
			t.Errorf("%q: %q, %d, %v; want %q, %d", c.line, got, kind, err, c.want, c.kind)
		}
	}
}

func TestSection(t *testing.T) {
	if Section("NO SUCH SECTION") != "" || !strings.HasPrefix(Section("NAME"), ".Nm mailcertd\n") ||
		strings.Contains(Section("NAME"), ".Sh") {
		t.Errorf("NAME is %q", Section("NAME"))
	}
}
