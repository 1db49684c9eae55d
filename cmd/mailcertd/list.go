package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/page"
	"mailcertd/internal/report"
)

func (a *app) listCommand() *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "list", Args: noArgs, Short: "list the certificates that this host's CA has issued, next due first",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.localCA(cmd.Context(), toLook)
			if err != nil {
				return err
			}
			now := wallClock()
			here := report.ReadInstalled(o.cfg.Certs.Dir)
			var unread error
			each := func(take func(report.Listed) error) error {
				return ca.Each(o.obs.CA, now, func(l ca.Listed) error {
					unread = errors.Join(unread, l.Unread)
					return take(report.NewListed(o.obs.CA, l, here, now))
				})
			}
			if a.json {
				err := report.WriteList(a.out, o.cfg.CA.Dir, each)
				return errors.Join(err, unread)
			}
			rep := report.List{Version: report.ListVersion, Dir: o.cfg.CA.Dir}
			err = each(func(l report.Listed) error {
				rep.Certificates = append(rep.Certificates, l)
				return nil
			})
			if err != nil {
				return err
			}
			p := a.newPage(now)
			page.List(rep, p)
			return errors.Join(p.Print(a.out), unread)
		},
	}, &a.json)
}
