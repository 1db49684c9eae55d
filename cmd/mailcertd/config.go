package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func configCommand(out io.Writer, flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "config", Args: noArgs,
		Short: "check the configuration and print the settings in force",
		Long: `Prints all settings in force. If the configuration has errors, it prints all of
them with their line numbers instead, and the exit status is 2.`,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			from := cfg.Path
			if cfg.Missing {
				from += " does not exist: these are the defaults"
			}
			_, err = fmt.Fprintf(out, "# %s\n%s", from, cfg.YAML())
			return err
		},
	}
}
