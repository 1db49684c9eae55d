package text

import (
	"strings"
	"testing"
)

func TestClip(t *testing.T) {
	for _, c := range []struct{ s, want string }{{"", ""}, {"1234", "1234"}, {"12345", "1234..."}, {"123é", "123..."}} {
		if got := Clip(c.s, 4); got != c.want {
			t.Errorf("%q: %q, want %q", c.s, got, c.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for s, want := range map[string]string{
		" a\nb\x1b[2J\xffc ": "a b [2J c", "東京": "東京", strings.Repeat("x", 20): strings.Repeat("x", 20),
		strings.Repeat("x", 21): strings.Repeat("x", 17) + "...",
	} {
		if got := OneLine(s, 20); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestEscaped(t *testing.T) {
	if got, want := Escaped("a\nb\tc\x1b[2J\u009bé"), `a b c\x1b[2J\x9bé`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
