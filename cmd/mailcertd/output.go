package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mailcertd/internal/page"
)

// output is standard output. It remembers the first error of a write, because the verb fails if its report could not be
// written.
type output struct {
	io.Writer
	failed error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil && o.failed == nil {
		o.failed = err
	}
	return n, err
}

// outFile returns standard output if it is a file, such as a terminal.
func (c *console) outFile() (*os.File, bool) {
	f, ok := c.out.Writer.(*os.File)
	return f, ok
}

// columnLine matches an option or a command and, in the second column, its description.
var columnLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^( +(?:(?:-\w, |    )--\S+(?: \S+)?|[a-z]+) +)(\S.*)$`)
})

// foldUsage folds the pages of help to the 80 columns of a terminal.
func foldUsage(root *cobra.Command) {
	usual := root.UsageFunc()
	root.SetUsageFunc(func(c *cobra.Command) error {
		out := c.OutOrStderr()
		var text bytes.Buffer
		c.SetOut(&text)
		c.SetErr(&text)
		err := usual(c)
		c.SetOut(out)
		c.SetErr(nil)
		if err != nil {
			return err
		}
		var folded strings.Builder
		// The manual and the messages say option, where cobra says flag.
		said := strings.NewReplacer("[flags]", "[options]", "\nFlags:", "\nOptions:", "\nGlobal Flags:",
			"\nOptions of every command:").Replace(text.String())
		for _, line := range strings.SplitAfter(said, "\n") {
			if utf8.RuneCountInString(line) <= mostWidth+1 {
				folded.WriteString(line)
				continue
			}
			before, what := "", strings.TrimSuffix(line, "\n")
			if m := columnLine().FindStringSubmatch(what); m != nil {
				before, what = m[1], m[2]
			}
			for i, part := range page.Wrap(what, mostWidth-len(before)) {
				if i > 0 {
					before = strings.Repeat(" ", len(before))
				}
				folded.WriteString(before + part + "\n")
			}
		}
		_, err = io.WriteString(out, folded.String())
		return err
	})
}

// completion makes the usage errors of cobra's own completion command look like those of this program.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown shell %q: it must be bash, fish, powershell or zsh", args[0])}
			}
			return usageError{errors.New("the shell is missing: it must be bash, fish, powershell or zsh")}
		}
		c.RunE = func(*cobra.Command, []string) error { return nil }
		c.Short = "print a script that completes commands and options in a shell"
		c.Long = "Prints a script that completes commands, options and reasons in a shell. To see\n" +
			"where to put it, run `mailcertd completion SHELL --help`."
		for _, shell := range c.Commands() {
			shell.Args = noArgs
			shell.Short = "print the script for " + shell.Name()
		}
	}
}
