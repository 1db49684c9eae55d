package page

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/report"
)

func TestColumns(t *testing.T) {
	for text, want := range map[string]int{
		"host": 4, "株式会社": 8, "e\u0301": 1, "ｱ": 1, "Ａ": 2, "한글": 4, "Müller": 6, "😀": 2, "": 0,
	} {
		if got := columns(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b[31mb": `a\x1B[31mb`, "a\u009bb": `a\x9Bb`, "a\nb": "a; b", "a\tb": "a b", "a\u3000b": "a b",
		"a\u00a0b": "a b",
		"a\xffb":   `a\xFFb`, "a\u202eb": `a\u202Eb`, "a\u200bb": `a\u200Bb`, "a\x00b": `a\x00b`,
		"☎\ufe0f": `☎\uFE0F`, "株式": "株式",
		"\ufffd": "\ufffd", "a\x7f": `a\x7F`, "\u2028": `\u2028`, "\U000e0001": `\uE0001`,
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// For any text: no line is too wide, only blanks are lost, and a text that fits stays on one line.
func TestWrap(t *testing.T) {
	letters := []rune("ab  c,./株\u0301é\x1b\u202e\n")
	rnd := rand.New(rand.NewPCG(1, 2))
	squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
	for range 5000 {
		text := make([]rune, rnd.IntN(120))
		for i := range text {
			text[i] = letters[rnd.IntN(len(letters))]
		}
		most := 2 + rnd.IntN(40)
		lines := Wrap(string(text), most)
		for _, l := range lines {
			if columns(l) > most {
				t.Fatalf("%q at %d: %q", string(text), most, l)
			}
		}
		if got, want := squeeze(strings.Join(lines, "")), squeeze(Clean(string(text))); got != want {
			t.Fatalf("%q at %d: got %q, want %q", string(text), most, got, want)
		}
		if whole := strings.TrimSpace(Clean(string(text))); columns(whole) <= most &&
			(len(lines) != 1 || lines[0] != whole) {
			t.Fatalf("%q at %d needs one line: %q", string(text), most, lines)
		}
	}
}

func TestSomeNames(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "no name"},
		{[]string{"a.example"}, "a.example"},
		{[]string{"a.example", "b.example"}, "a.example, b.example"},
		{[]string{"a.example", "b.example", "c.example"}, "a.example and 2 more"},
		{[]string{"averylongname.of.some.host.example", "b.example"}, "averylongname.of.some.host.example and 1 more"},
	} {
		if got := someNames(c.names, 24, 1); got != c.want {
			t.Errorf("%q: %q, want %q", c.names, got, c.want)
		}
	}
}

func TestBar(t *testing.T) {
	at := func(n int) time.Time { return today.Add(time.Duration(n) * report.Day) }
	for _, c := range []struct {
		from, to, due int
		want          string
	}{
		{0, 10, 6, "[|-----^---]"},
		{-5, 5, 2, "[=====|-^--]"},
		{-5, 5, 0, "[=====|----]"},   // due today
		{-8, 2, -2, "[======^=|-]"},  // over due
		{-10, 0, -4, "[======^===]"}, // ends now
		{-20, -10, -14, "[======^===]"},
		{1, 11, 7, "[------^---]"},    // not yet valid
		{0, 10, 40, "[|---------]"},   // due after the end: no mark
		{0, 0, 0, "[==========]"},     // no lifetime at all
		{-5, -8, 0, "[==========]"},   // ends before it begins
		{-99, 1, -98, "[^========|]"}, // the last day
	} {
		if got := bar(at(c.from), at(c.to), at(c.due), today, 12); got != c.want {
			t.Errorf("%d to %d, due %d: %s, want %s", c.from, c.to, c.due, got, c.want)
		}
	}
	if got := bar(at(0), at(10), time.Time{}, today, 12); got != "[|---------]" {
		t.Errorf("never due: %s", got)
	}
	if got := bar(time.Unix(0, 0), time.Unix(1<<40, 0), today, today, 7); got != "[|----]" {
		t.Errorf("a life of 34,000 years: %s", got)
	}
}

func TestWhen(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "now"}, {59 * time.Second, "now"}, {-59 * time.Second, "now"}, {time.Minute, "in 1 minute"},
		{-61 * time.Minute, "1 hour ago"},
		{47 * time.Hour, "in 47 hours"}, {48 * time.Hour, "in 2 days"}, {90 * report.Day, "in 90 days"},
		{92 * report.Day, "in 3 months"},
		{-364 * report.Day, "11 months ago"}, {729 * report.Day, "in 23 months"}, {730 * report.Day, "in 2 years"},
		{3650 * report.Day, "in 10 years"},
	} {
		if got := relative(today.Add(c.d), today); got != c.want {
			t.Errorf("%v: %q, want %q", c.d, got, c.want)
		}
	}
	if got := left(today, today.Add(12*report.Day+time.Hour), today); got != "12 days left" {
		t.Error(got)
	}
	if got := left(today.Add(-report.Day), today, today); got != "expired less than a minute ago" {
		t.Error(got)
	}
	if got := left(today.Add(report.Day), today.Add(2*report.Day), today); got != "begins in 24 hours" {
		t.Error(got)
	}
}
