package main

import (
	"github.com/spf13/cobra"
)

func (a *app) requestCommand() *cobra.Command {
	var rekey bool
	cmd := &cobra.Command{
		Use: "request", Args: noArgs, Short: "print a certificate request for this host",
		Long: `Prints a request for this host's key and names to standard output:

  mailcertd request > dhcp.csr        here
  mailcertd sign < dhcp.csr > dhcp.pem    on the CA host
  mailcertd install dhcp.pem          here

The key never leaves this host. In one line, if root may log in on the CA host:
  mailcertd request | ssh krb5 mailcertd sign --yes > dhcp.pem &&
    mailcertd install dhcp.pem`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			csr, err := k.Request(cmd.Context(), rekey)
			if err != nil {
				return err
			}
			_, err = a.out.Write(csr)
			return err
		},
	}
	cmd.Flags().BoolVar(&rekey, "rekey", false,
		"make the request with a new key, which is used when its certificate is installed")
	return cmd
}
