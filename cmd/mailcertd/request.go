package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"mailcertd/internal/certdir"
)

func (a *app) requestCommand() *cobra.Command {
	var rekey bool
	name := certdir.Host.Name
	cmd := &cobra.Command{
		Use: "request", Args: noArgs, Short: "print a certificate request for this host",
		Long: `Prints a request for this host's key and names to standard output:

  mailcertd request > dhcp.csr        here
  mailcertd sign < dhcp.csr > dhcp.pem    on the CA host
  mailcertd install dhcp.pem          here

The key never leaves this host. In one line, if root may log in on the CA host:
  mailcertd request | ssh krb5 mailcertd sign --yes > dhcp.pem &&
    mailcertd install dhcp.pem

--pair requests the certificate of another pair that mailcertd.yaml asks for.
install finds the pair by the key.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pair, err := pairNamed(name)
			if err != nil {
				return err
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			csr, err := k.Request(cmd.Context(), pair, rekey)
			if err != nil {
				return err
			}
			_, err = a.out.Write(csr)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "pair", name, "the `pair` to request a certificate for: host, host-ecdsa or client")
	cmd.Flags().BoolVar(&rekey, "rekey", false,
		"make the request with a new key, which is used when its certificate is installed")
	return cmd
}

// pairNamed returns the pair that --pair names.
func pairNamed(name string) (certdir.Pair, error) {
	all := certdir.Pairs()
	if i := slices.IndexFunc(all, func(p certdir.Pair) bool { return p.Name == name }); i >= 0 {
		return all[i], nil
	}
	return certdir.Pair{}, usageError{fmt.Errorf("--pair %q: must be host, host-ecdsa or client", name)}
}
