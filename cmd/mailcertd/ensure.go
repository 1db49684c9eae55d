package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// ensureNotifyFor is what each command of `notify` gets while the boot waits;
// the daemon tries again one that needs longer.
const ensureNotifyFor = 3 * time.Second

func (a *app) ensureCommand() *cobra.Command {
	return a.dryRunFlag(&cobra.Command{
		Use: "ensure", Args: noArgs,
		Short: "make everything complete, once",
		Long: `Makes key, certificate, CA file, hash links, dh.param and, where there is none
yet, the CA; repairs what is damaged; renews what is due; tells a running
sendmail. It is what rc.d runs before sendmail: it never waits for the network
or a terminal, and changes nothing when all is well.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.notifyFor, a.brief = ensureNotifyFor, true
			return a.settle(cmd.Context(), func(*keeper.Keeper, context.Context) plan.Wish { return plan.Wish{} })
		},
	})
}

func (a *app) renewCommand() *cobra.Command {
	var rekey, force, trustClock bool
	cmd := a.dryRunFlag(&cobra.Command{
		Use: "renew", Args: noArgs,
		Short: "renew the host certificate now, due or not",
		Long: `Issues a new certificate over the same key, installs it and waits until sendmail
serves it. TLSA 3 1 1 records stay valid unless --rekey makes a new key.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.renewing = true
			return a.settle(cmd.Context(), func(k *keeper.Keeper, ctx context.Context) plan.Wish {
				f := k.Check(ctx, plan.Wish{}).Plan.Facts
				return plan.Wish{Renew: true, Rekey: rekey, Force: force, TrustClock: trustClock, From: f.LeafID, FromKey: f.KeyID}
			})
		},
	})
	cmd.Flags().BoolVar(&rekey, "rekey", false, "with a new key (TLSA 3 1 1 records must follow)")
	cmd.Flags().BoolVar(&force, "force", false, "also over a certificate that is not ours; a copy is kept")
	cmd.Flags().BoolVar(&trustClock, "trust-clock", false, "believe the clock, whatever was seen before")
	return cmd
}

// settle is the body of every verb that makes something so.
func (a *app) settle(ctx context.Context, wish func(*keeper.Keeper, context.Context) plan.Wish) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	k := a.keeper(cfg, a.quiet())
	w := wish(k, ctx)
	w.Once = true
	if a.dryRun {
		r := k.Check(ctx, w)
		a.printPlan(r)
		return verdict(r.Plan)
	}
	if a.renewing && cfg.Issuer.Kind == config.IssuerLocal { // a person waits
		if err := a.unlock(k, k.ObserveAuthority()); err != nil {
			return err
		}
	}
	act := k.Settle
	if a.renewing {
		act = k.Renew
	}
	r, err := act(ctx, w)
	a.printDone(r)
	if err != nil {
		return err
	}
	return verdict(r.Plan)
}

// verdict is the exit status of what is left.
func verdict(p plan.Plan) error {
	if p.Worst() == plan.Error {
		return errTodo
	}
	return nil
}

func (a *app) printPlan(r keeper.Result) {
	if r.Plan.Empty() {
		fmt.Fprintln(a.out, "nothing to do")
	}
	for _, act := range r.Plan.Actions {
		fmt.Fprintf(a.out, "would %s  [%s]\n", clean(act.Text), act.Reason)
	}
	a.printProblems(a.err, r.Plan)
}

// printDone says what was done, what came of telling sendmail, and what is left.
func (a *app) printDone(r keeper.Result) {
	for _, act := range r.Done {
		fmt.Fprintf(a.out, "%s  [%s]\n", clean(act.Text), act.Reason)
	}
	if p := r.Pickup; p != nil {
		switch p.Result {
		case plan.Proven:
			note := ""
			if p.Detail != "" {
				note = " (" + p.Detail + ")"
			}
			fmt.Fprintf(a.out, "sendmail serves serial %s at %s%s\n", p.Serial, p.Addr, note)
		default:
			fmt.Fprintf(a.out, "sendmail: %s\n", clean(p.Detail))
		}
	}
	left := r.Plan
	if !a.renewing { // ensure runs before sendmail, at every boot
		left.Problems = slices.DeleteFunc(slices.Clone(left.Problems), func(p plan.Problem) bool { return p.Reason == plan.SendmailDown || p.Reason == plan.SubmitNoCA })
	}
	a.printProblems(a.err, left)
	if len(r.Done) == 0 && r.Pickup == nil && r.Plan.Empty() && (r.Plan.Ask == nil || r.Plan.Ask.Request == nil) && r.Plan.Worst() < plan.Error {
		fmt.Fprintln(a.out, "complete: nothing to do")
	}
	if len(r.Done) > 0 {
		if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
			fmt.Fprintf(a.out, "%s: %s until %s\n", r.Observed.Certs.Cert.Node.Path, r.Plan.Facts.Name, cs[0].NotAfter.Local().Format("2006-01-02"))
		}
	}
}
