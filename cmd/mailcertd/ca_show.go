package main

import (
	"context"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/mta"
	"mailcertd/internal/page"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

func (a *app) showCommand() *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use: "show", Args: noArgs, Short: "describe the CA, its generations and its members",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showCA(cmd.Context()) },
	}, &a.json)
}

func (a *app) showCA(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	a.overview = true
	r := a.keeper(cfg, quiet(a.logLevel, a.err)).Check(ctx, plan.Wish{})
	now := wallClock()
	rep := report.NewCA(cfg, r.Observed.CA, now)
	if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
		rep.Subject = "CERTSubject:" + mta.AccessKey(pki.OneLine(cs[0].RawSubject))
	}
	if a.json {
		return a.printJSON(rep)
	}
	p := a.newPage(now)
	page.CA(rep, len(cfg.Trust) > 0, p)
	if err := p.Print(a.out); err != nil {
		return err
	}
	if rep.Status != ca.Complete.String() {
		return errTodo
	}
	return nil
}
