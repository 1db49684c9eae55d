package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dh"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

func (a *app) dhparamCommand() *cobra.Command {
	var group string
	cmd := dryRunFlag(&cobra.Command{
		Use: "dhparam", Args: noArgs,
		Short: "show or choose the Diffie-Hellman parameters",
		Long: `Without --group: shows what dh.param contains. With --group: installs this group
of RFC 7919 and keeps it until "dh" in mailcertd.yaml is changed. It replaces no
parameters that mailcertd did not make: remove dh.param first. The groups are
` + strings.Join(dh.Names(), ", ") + `.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if group == "" {
				cfg, err := a.load()
				if err != nil {
					return err
				}
				r := a.keeper(cfg, quiet(a.logLevel, a.err)).Check(cmd.Context(), plan.Wish{})
				return showDH(a.out, r.Observed.Certs.DH)
			}
			if _, err := dh.Group(group); err != nil {
				return usageError{err}
			}
			return a.settle(cmd.Context(), func(k *keeper.Keeper, ctx context.Context) (plan.Wish, error) {
				if a.dryRun {
					return plan.Wish{Group: group}, k.ChooseTrial(ctx, group)
				}
				return plan.Wish{Group: group}, k.ChooseGroup(ctx, group)
			})
		},
	}, &a.dryRun)
	cmd.Flags().StringVar(&group, "group", "", "the RFC 7919 `group` to install")
	_ = cmd.RegisterFlagCompletionFunc("group", cobra.FixedCompletions(dh.Names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// showDH prints what dh.param contains.
func showDH(w io.Writer, e certdir.DHEntry) error {
	switch {
	case e.Node.Err != nil: // it is not known what the file contains
		return e.Node.Err
	case !e.Node.Exists:
		fmt.Fprintf(w, "%s: missing\n", e.Node.Path)
		return errTodo
	}
	p, err := dh.Read(e.Node.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Node.Path, err)
	}
	name := p.Name
	if name == "" {
		name = "not an RFC 7919 group"
	}
	_, err = fmt.Fprintf(w, "%s: %s, %d bits, generator %s\n", e.Node.Path, name, p.P.BitLen(), p.G)
	return err
}
