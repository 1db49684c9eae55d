package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) rolloverCommand() *cobra.Command {
	var now bool
	cmd := dryRunFlag(&cobra.Command{
		Use: "rollover", Args: noArgs, Short: "start the CA's next generation",
		Long: `Makes the next generation of the CA: a new key with the same subject, signed by
the present generation. Members receive it within a day, when they next ask. It
issues certificates as soon as all members trust it, or when the present
generation has no more than one certificate's lifetime left. The old generation
stays trusted until its last certificate has expired. You may run this again at
any time; "mailcertd ca show" shows the progress.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.localCA(cmd.Context(), toRule)
			if err != nil {
				return err
			}
			wish := plan.Wish{Once: true, Rollover: true, RolloverFrom: pki.Fingerprint(o.obs.CA.Current.Cert),
				Promote: now}
			if a.dryRun {
				r := o.k.Check(cmd.Context(), wish)
				a.printPlan(r)
				return verdict(r.Plan)
			}
			r, err := o.k.Settle(cmd.Context(), wish)
			a.printDone(r, false)
			if err != nil {
				return err
			}
			if !begun(r.Observed.CA, wish) {
				return errTodo // the failure was printed already
			}
			own, _ := plan.HostName(o.cfg, o.obs.Host)
			hosts, err := byHand(o.obs.CA, own, wallClock())
			if err != nil {
				return err
			}
			if len(hosts) > 0 {
				fmt.Fprintf(a.out,
					"not members, so carry the new CA to them by hand (the output of `mailcertd sign` or `issue` "+
						"contains it): %s\n", strings.Join(hosts, ", "))
			}
			return a.showCA(cmd.Context())
		},
	}, &a.dryRun)
	cmd.Flags().BoolVar(&now, "now", false,
		"put the next generation into force at once, even if some members do not trust it yet")
	return cmd
}

// begun says whether `ca rollover` has done what the person asked for.
func begun(o ca.Observed, wish plan.Wish) bool {
	if o.Current.Cert == nil { // the certificate cannot be read
		return false
	}
	return pki.Fingerprint(o.Current.Cert) != wish.RolloverFrom || !wish.Promote && o.HasNext()
}

// byHand returns the hosts that have a valid certificate and are not members, so that a person brings them their
// certificates.
func byHand(o ca.Observed, own string, now time.Time) (out []string, err error) {
	err = ca.Each(o, now, func(l ca.Listed) error {
		if l.Status == "valid" && len(l.Names) > 0 && l.Names[0] != own && ca.Find(o.Members, l.Names[0]) == nil &&
			!slices.Contains(out, l.Names[0]) {
			out = append(out, l.Names[0])
		}
		return nil
	})
	return out, err
}
