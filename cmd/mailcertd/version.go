package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

func versionCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "version", Args: noArgs, Short: "print version, commit, Go and platform",
		RunE: func(*cobra.Command, []string) error {
			text := "mailcertd " + version
			if commit != "" {
				text += " (" + commit + ")"
			}
			if t := buildTime(); !t.IsZero() {
				text += " built " + t.UTC().Format("2006-01-02")
			}
			_, err := fmt.Fprintf(out, "%s %s %s/%s\n", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
