package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config", Args: noArgs,
		Short: "check the configuration and print the effective one",
		Long: `Reports all errors at once, with line numbers, and exits with 2; else prints
every setting in force.`,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			from := cfg.Path
			if cfg.Missing {
				from += " does not exist: these are the defaults"
			}
			_, err = fmt.Fprintf(a.out, "# %s\n%s", from, cfg.YAML())
			return err
		},
	}
}
