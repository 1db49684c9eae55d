package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// ensureNotifyFor is the longest time for each command of `notify` while the boot waits. The daemon later repeats a
// command that needs more time.
const ensureNotifyFor = 3 * time.Second

func (a *app) ensureCommand() *cobra.Command {
	return dryRunFlag(&cobra.Command{
		Use: "ensure", Args: noArgs,
		Short: "complete everything, once",
		Long: `Makes the key, the certificate, the CA file, the hash links, dh.param and, where
there has never been one, the CA. It repairs what is damaged, renews what is
due, and tells a running sendmail to read the new files. rc.d runs it before
sendmail: it never waits for the network or a terminal, and changes nothing when
everything is in order.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.notifyFor, a.brief = ensureNotifyFor, true
			return a.settle(cmd.Context(), func(*keeper.Keeper, context.Context) (plan.Wish, error) {
				return plan.Wish{}, nil
			})
		},
	}, &a.dryRun)
}
