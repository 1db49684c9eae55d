package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcertd/internal/certdir"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
)

func (a *app) installCommand() *cobra.Command {
	var force bool
	var name string
	cmd := dryRunFlag(&cobra.Command{
		Use: "install FILE", Args: oneArg("the file to install"),
		Short: "install a certificate from a file, with or without its key",
		Long: `FILE comes from "mailcertd issue" or "mailcertd sign", or is a bought
certificate with its chain, with or without the key, in any order; - is standard
input. FILE is in PEM format; a single certificate may also be in DER format.
The command checks the key, the names, the dates, the chain and the purpose, and
whether sendmail accepts the result. It saves a backup of the present files,
installs the new ones together, and waits until sendmail serves them.

The key of the certificate says to which pair it belongs. A file that brings a
new key becomes the pair that --pair names.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var pair certdir.Pair
			if cmd.Flags().Changed("pair") {
				var err error
				if pair, err = pairNamed(name); err != nil {
					return err
				}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			data, err := a.input(args[0], 1<<20)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			in := keeper.Incoming{Data: data, Path: args[0], Pair: pair, Force: force, DryRun: a.dryRun}
			in.Passphrase = func(opens func([]byte) error) ([]byte, error) {
				return a.askUntil("Passphrase of the key in "+args[0], opens)
			}
			r, notes, err := k.InstallFile(cmd.Context(), in)
			for _, n := range notes {
				fmt.Fprintln(a.err, "warning:", page.Clean(n))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if a.dryRun {
				fmt.Fprintf(a.out, "%s can be installed\n", args[0])
				return nil
			}
			a.printDone(r, false)
			return verdict(r.Plan)
		},
	}, &a.dryRun)
	cmd.Flags().StringVar(&name, "pair", "", "the `pair` to install the file as: host, host-ecdsa or client")
	cmd.Flags().BoolVar(&force, "force", false, "install even if names, dates or chain are wrong")
	return cmd
}
