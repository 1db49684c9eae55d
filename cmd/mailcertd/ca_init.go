package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

func (a *app) caInitCommand() *cobra.Command {
	var encrypt bool
	cmd := dryRunFlag(&cobra.Command{
		Use: "init", Args: noArgs, Short: "create the CA, or adopt an existing one",
		Long: `Creates the CA in ca.dir, or adopts one that was made there with openssl, and
rewrites no file that needs no change. With --encrypt the new key gets a
passphrase. It protects copies of the directory, but not against root on this
host.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if encrypt {
				return a.initEncrypted(cmd.Context())
			}
			if err := a.settle(cmd.Context(), func(*keeper.Keeper, context.Context) (plan.Wish, error) {
				return plan.Wish{MakeCA: true}, nil
			}); err != nil || a.dryRun {
				return err
			}
			return a.showCA(cmd.Context())
		},
	}, &a.dryRun)
	cmd.Flags().BoolVar(&encrypt, "encrypt", false,
		"protect the new key with a passphrase, typed twice (or read from ca.passphrase_file)")
	return cmd
}

// initEncrypted makes a CA whose key is encrypted from the beginning.
func (a *app) initEncrypted(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	k := a.keeper(cfg, quiet(a.logLevel, a.err))
	r := k.Check(ctx, plan.Wish{})
	if s := r.Observed.CA.Status; s != ca.Absent {
		return fmt.Errorf(
			"%s: there is a CA already (%s), and --encrypt is only for a new one: to encrypt its key, use "+
				"`openssl pkcs8 -topk8 -v2 aes-256-cbc`", cfg.CA.Dir, s)
	}
	secret, err := k.CA.ConfiguredPassphrase()
	if err != nil {
		return fmt.Errorf("ca.passphrase_file: %s %w", cfg.CA.PassphraseFile, err)
	}
	if a.dryRun {
		fmt.Fprintf(a.out, "would create the private CA in %s, with a passphrase for its key\n", cfg.CA.Dir)
		return nil
	}
	if secret == nil {
		if secret, err = a.newPassphrase("the CA's key"); err != nil {
			return err
		}
	}
	k.CA.SetPassphrase(secret)
	res, err := k.Settle(ctx, plan.Wish{Once: true, MakeCA: true})
	a.printDone(res, false)
	if err != nil {
		return err
	}
	return a.showCA(ctx)
}
