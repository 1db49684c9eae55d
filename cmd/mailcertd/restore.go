package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailcertd/internal/page"
	"mailcertd/internal/plan"
)

func (a *app) restoreCommand() *cobra.Command {
	var list, force bool
	cmd := dryRunFlag(&cobra.Command{
		Use:   "restore [BACKUP]",
		Short: "restore a backup",
		Long: `Restores the newest backup, or the one named. It checks first whether sendmail
accepts the files, and saves a backup of the present ones. The restored
certificate is kept until its renewal is due. --list lists the backups. Where
there are TLSA records, another key is restored only with --force: hosts that
check them keep their mail until the record of this key is there.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if list && len(args) > 0 {
				return usageError{
					fmt.Errorf("unexpected argument %q: --list takes none, it lists all backups", args[0])}
			}
			return atMostOne(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			if list {
				gens, err := k.Backups()
				for _, g := range gens {
					var names []string
					for _, f := range g.Files {
						names = append(names, f.Name)
					}
					note := ""
					if g.Foreign {
						note = " (not made by mailcertd)"
					}
					if g.Damaged {
						note = " (damaged)"
					}
					fmt.Fprintf(a.out, "%s  %s  %s%s\n", g.ID, g.Reason, strings.Join(names, ", "), note)
				}
				if err != nil { // the list is not complete
					return err
				}
				if len(gens) == 0 {
					fmt.Fprintln(a.out, "there are no backups")
				}
				return nil
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			if a.dryRun {
				what, notes, err := k.RestoreTrial(cmd.Context(), id, force)
				for _, n := range notes {
					fmt.Fprintln(a.err, "warning:", page.Clean(n))
				}
				if err == nil {
					fmt.Fprintln(a.out, page.Clean(what))
				}
				return err
			}
			r, err := k.Restore(cmd.Context(), id, force)
			if err != nil {
				return err
			}
			what := "restored"
			if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
				what += fmt.Sprintf(" the certificate for %s, until %s",
					page.Clean(strings.Join(plan.CertNames(cs[0]), ", ")),
					cs[0].NotAfter.Local().Format("2006-01-02"))
			}
			fmt.Fprintln(a.out, what)
			if len(r.Done) == 0 && r.Pickup == nil { // otherwise printDone would say that there was nothing to do
				a.printProblems(a.err, r.Plan)
			} else {
				a.printDone(r, false)
			}
			return verdict(r.Plan)
		},
	}, &a.dryRun)
	cmd.Flags().BoolVar(&force, "force", false, "restore a key although the TLSA records do not allow it yet")
	cmd.Flags().BoolVar(&list, "list", false, "list the backups, newest first")
	return cmd
}
