package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailcertd/man"
)

// The smallest and largest width of explanations, in characters.
const (
	mostWidth  = 80
	leastWidth = 40
)

// helpCommand explains verbs, as cobra's own help does, and reasons.
func helpCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | REASON]", Short: "explain a command, or a word in [brackets]",
		Long: `Explains a command or a reason. A reason is the word in [brackets] at the end of
a line. "mailcertd help reasons" lists all reasons. mailcertd(8) has the same
text.`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return topics(cmd.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "reasons" {
				c.listReasons()
				return nil
			}
			verb, left, err := cmd.Root().Find(args)
			isVerb := err == nil && len(left) == 0
			if isVerb {
				verb.InitDefaultHelpFlag()
				if err := verb.Help(); err != nil {
					return err
				}
			}
			if len(args) == 1 {
				if r, found := man.Find(args[0]); found {
					if isVerb { // some words, such as request, are both a verb and a reason
						fmt.Fprintln(c.out)
					}
					_, err := fmt.Fprintf(c.out, "[%s]\n%s", r.Name, r.Text(c.width()))
					return err
				}
			}
			if isVerb {
				return nil
			}
			return usageError{fmt.Errorf("%q is neither a command nor a reason%s", strings.Join(args, " "),
				nearest(cmd.Root(), args[len(args)-1]))}
		},
	}
}

func (c *console) listReasons() {
	longest := 0
	for _, r := range man.Reasons() {
		longest = max(longest, len(r.Name))
	}
	for _, r := range man.Reasons() {
		indent := strings.Repeat(" ", longest+2)
		text := man.Fill(r.First(), c.width(), indent)
		fmt.Fprintf(c.out, "%-*s%s", longest+2, r.Name, strings.TrimPrefix(text, indent))
	}
}

// topics returns the words that help can explain.
func topics(root *cobra.Command) []string {
	out := []string{"reasons"}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, c.Name())
		}
	}
	for _, r := range man.Reasons() {
		out = append(out, r.Name)
	}
	return out
}

// mostMeant is the largest number of suggestions.
const mostMeant = 4

// nearest suggests the words that a person may have meant, by cobra's own measure of distance.
func nearest(root *cobra.Command, word string) string {
	all := &cobra.Command{SuggestionsMinimumDistance: root.SuggestionsMinimumDistance}
	for _, t := range topics(root) {
		all.AddCommand(&cobra.Command{Use: t, Run: func(*cobra.Command, []string) {}})
	}
	found := all.SuggestionsFor(strings.Trim(word, "[]"))
	if len(found) == 0 || len(found) > mostMeant {
		return "; see `mailcertd help` and `mailcertd help reasons`"
	}
	for i := range found {
		found[i] = fmt.Sprintf("%q", found[i])
	}
	return "; did you mean " + strings.Join(found, " or ") + "?"
}

// width returns how many characters a line of the terminal has, within the limits above.
func (c *console) width() int {
	if f, ok := c.outFile(); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(max(w, leastWidth), mostWidth)
		}
	}
	return mostWidth
}
