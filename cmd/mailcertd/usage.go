package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sayNotRoot prints a line before everything else if a verb works on the system's own files without root. Otherwise the
// output could be mistaken for the real state of the host.
func (c *console) sayNotRoot(root string) {
	if os.Geteuid() == 0 || root != "" || c.saidUser {
		return
	}
	c.saidUser = true
	fmt.Fprintln(c.err,
		"mailcertd: this is not run as root: it cannot read what only root may read, and it can change nothing")
}

// nearestFlag suggests the option that a person may have meant.
func nearestFlag(cmd *cobra.Command, err error) string {
	word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return ""
	}
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	add := func(f *pflag.Flag) {
		all.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	}
	cmd.NonInheritedFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	if s := all.SuggestionsFor(word); len(s) > 0 {
		return fmt.Sprintf("; did you mean --%s?", s[0])
	}
	return ""
}

// flagError returns the error for a wrong option, in the words of this program and not of Go's.
func flagError(err error) string {
	text, _, number := strings.Cut(err.Error(), ": strconv.")
	text = strings.NewReplacer("unknown flag: --", "unknown option --", "unknown shorthand flag: ", "unknown option ",
		"flag needs an argument: ", "this option needs a value: ", "\" flag", "\" option").Replace(text)
	if number {
		text += ": must be a number"
	}
	return text
}

// atMostOne refuses a second argument, with exit status 2.
func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("unexpected argument %q", args[1])}
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("give one argument: %s", what)}
		}
		return nil
	}
}

// separated splits the values of an option at their commas.
func separated(flag []string) []string {
	var out []string
	for _, f := range flag {
		out = append(out, strings.Split(f, ",")...)
	}
	return out
}

// usageError is wrong usage or a wrong configuration. The exit status is 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// noArgs refuses arguments, with exit status 2.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
