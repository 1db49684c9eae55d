package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) caCommand() *cobra.Command {
	cmd := &cobra.Command{
		SuggestionsMinimumDistance: 2,
		Use:                        "ca", Short: "the private CA: init, show, rollover, enrol, unenrol, forget",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				meant := ";"
				if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
					meant = fmt.Sprintf("; did you mean %q?", s[0])
				}
				return usageError{
					fmt.Errorf("unknown command %q%s it must be init, show, rollover, enrol, unenrol or forget",
						"ca "+args[0], meant)}
			}
			return usageError{
				fmt.Errorf(
					"a command is missing after ca: init, show, rollover, enrol, unenrol or forget; see " +
						"`mailcertd help ca`")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(a.caInitCommand(), a.showCommand(), a.rolloverCommand(), a.enrolCommand(), a.unenrolCommand(true),
		a.unenrolCommand(false))
	return cmd
}
