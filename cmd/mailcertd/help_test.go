package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mailcertd/man"
)

// typed runs a command line and returns its output, its standard error and its exit status.
func typed(args ...string) (out, errs string, status int) {
	var o, e bytes.Buffer
	status = newApp(strings.NewReader(""), &o, &e).execute(context.Background(), args)
	return o.String(), e.String(), status
}

func TestHelpOfVerbs(t *testing.T) {
	for _, verb := range []string{"", "check", "ca", "ca init", "completion zsh", "help"} {
		want, _, _ := typed(append(strings.Fields(verb), "--help")...)
		got, errs, status := typed(append([]string{"help"}, strings.Fields(verb)...)...)
		if status != exitFine || got != want || len(got) < 100 || errs != "" {
			t.Errorf("help %s: %d, %s\n%s\nwant\n%s", verb, status, errs, got, want)
		}
	}
}

// A line that is too long for a terminal is folded within its column: the name of the command or option, then its
// description.
func TestHelpKeepsColumns(t *testing.T) {
	for _, verb := range []string{"", "ca", "list", "status"} {
		text, _, _ := typed(append(strings.Fields(verb), "--help")...)
		_, usage, _ := strings.Cut(text, "\nUsage:\n")
		for line := range strings.SplitSeq(usage, "\n") {
			indented := line == "" || line[0] == ' ' || strings.HasSuffix(line, ":") || strings.HasPrefix(line, "Use ")
			if !indented || utf8.RuneCountInString(line) > 80 {
				t.Errorf("help %s: %q", verb, line)
			}
		}
	}
}

func TestHelpOfReasons(t *testing.T) {
	for _, r := range man.Reasons() {
		got, errs, status := typed("help", r.Name)
		verb, _, _ := typed(r.Name, "--help") // a reason may have the same name as a verb
		if !strings.HasPrefix(got, "[") && !strings.HasPrefix(got, verb+"\n[") {
			t.Errorf("help %s begins with\n%s", r.Name, got)
		}
		if want := "[" + r.Name + "]\n" + r.Text(80); status != exitFine ||
			!strings.HasSuffix(got, want) || errs != "" {
			t.Errorf("help %s: %d, %s\n%s", r.Name, status, errs, got)
		}
		if got, _, _ := typed("help", "["+r.Name+"]"); !strings.HasPrefix(got, "["+r.Name+"]\n") {
			t.Errorf("help [%s] says\n%s", r.Name, got)
		}
	}
	list, _, status := typed("help", "reasons")
	for _, r := range man.Reasons() {
		if !strings.Contains("\n"+list, "\n"+r.Name+" ") {
			t.Errorf("the list lacks %s", r.Name)
		}
	}
	for line := range strings.SplitSeq(list, "\n") {
		if len(line) > 80 || status != exitFine {
			t.Errorf("status %d, %q", status, line)
		}
	}
}

// Every page of help fits a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	var pages func(c *cobra.Command)
	n := 0
	pages = func(c *cobra.Command) {
		n++
		args := strings.Fields(c.CommandPath())[1:]
		got, _, status := typed(append(args, "--help")...)
		for line := range strings.SplitSeq(got, "\n") {
			if utf8.RuneCountInString(line) > 80 && c.Parent().Name() != "completion" || status != exitFine {
				t.Errorf("%s: status %d, %d columns: %s", c.CommandPath(), status, utf8.RuneCountInString(line), line)
			}
		}
		for _, below := range c.Commands() {
			pages(below)
		}
	}
	pages(newApp(strings.NewReader(""), io.Discard, io.Discard).command())
	if n < 25 {
		t.Errorf("%d pages", n)
	}
	if got, _, _ := typed("revoke", "--help"); !strings.Contains(got, "\n                        ") ||
		!strings.Contains(got, "certificateHold") {
		t.Errorf("not folded:\n%s", got)
	}
}
