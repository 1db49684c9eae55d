package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
)

func (a *app) unenrolCommand(revoke bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "unenrol NAME", Args: oneArg("the host's name"), Short: "remove a member, and revoke its certificates",
		RunE: func(cmd *cobra.Command, args []string) error {
			n := toLook
			if revoke {
				n = toRule
			}
			o, err := a.localCA(cmd.Context(), n)
			if err != nil {
				return err
			}
			m := ca.Find(o.obs.CA.Members, args[0])
			if m == nil {
				return fmt.Errorf("%s %w: `mailcertd ca show` lists those that are", args[0], ca.ErrNotMember)
			}
			if err := ca.Members(cmd.Context(), a.disk, o.cfg.CA.Dir, ca.Unenrol(m.Name)); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s is no longer a member; remove its line from ~%s/.ssh/authorized_keys\n", m.Name,
				o.cfg.CA.Account)
			if !revoke {
				return nil
			}
			return o.revokeAll(cmd.Context(), m.Name)
		},
	}
	if !revoke {
		cmd.Use, cmd.Short = "forget NAME", "remove a member that no longer exists; nothing is revoked"
	}
	return cmd
}
