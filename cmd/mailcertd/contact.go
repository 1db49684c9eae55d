package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sayNotRoot comes first where a verb works on the system's own files without
// root: what follows would be read as the state of the host.
func (a *app) sayNotRoot(root string) {
	if os.Geteuid() == 0 || root != "" || a.saidUser {
		return
	}
	a.saidUser = true
	fmt.Fprintln(a.err, "mailcertd: not running as root: what only root may read looks missing, and nothing can be changed")
}

// nearestFlag suggests what an unknown option may have been meant to be.
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

// flagError is the error of a wrong option without Go's own names in it.
func flagError(err error) string {
	text, _, number := strings.Cut(err.Error(), ": strconv.")
	if number {
		text += ": want a number"
	}
	return text
}
