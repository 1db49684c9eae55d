package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

func (a *app) renewCommand() *cobra.Command {
	var rekey, now, force, trustClock bool
	cmd := dryRunFlag(&cobra.Command{
		Use: "renew", Args: noArgs,
		Short: "renew the host certificate now, whether it is due or not",
		Long: `Issues a new certificate for the same key, installs it and waits until sendmail
serves it. TLSA 3 1 1 records stay valid. With --rekey, where there are TLSA
records, the new key is made now, and used when its record has been in the DNS
for long enough; where the DNS gives no answer, it waits for one.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if now && !rekey {
				return usageError{errors.New("--now works only together with --rekey")}
			}
			a.renewing = true
			return a.settle(cmd.Context(), func(k *keeper.Keeper, ctx context.Context) (plan.Wish, error) {
				r := k.Check(ctx, plan.Wish{})
				for _, n := range []durable.Node{r.Observed.Certs.Key.Node, r.Observed.Certs.Cert.Node} {
					if n.Unread() { // it is not known which pair is to be replaced
						return plan.Wish{}, n.Err
					}
				}
				return r.Plan.Facts.Replace(plan.Wish{Renew: true, Rekey: rekey, Now: now, Force: force,
						TrustClock: trustClock}),
					nil
			})
		},
	}, &a.dryRun)
	cmd.Flags().BoolVar(&rekey, "rekey", false, "make a new key as well")
	cmd.Flags().BoolVar(&now, "now", false,
		"with --rekey: do not wait for TLSA records; hosts that check them defer their mail")
	cmd.Flags().BoolVar(&force, "force", false, "also replace a certificate that is not ours; a backup is kept")
	cmd.Flags().BoolVar(&trustClock, "trust-clock", false,
		"believe the clock, even if it contradicts the times recorded before")
	return cmd
}
