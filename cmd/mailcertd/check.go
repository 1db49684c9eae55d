package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"mailcertd/internal/page"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

func (a *app) checkCommand() *cobra.Command {
	var peer string
	cmd := jsonFlag(&cobra.Command{
		Use: "check", Args: noArgs,
		Short: "report everything that is wrong, and what ensure would do",
		Long: `Reports problems and changes nothing. The exit status is 1 if there is an error,
or if ensure would do something. Warnings and notices alone give 0.

--peer tests another mail host instead: it connects to exactly that host
(without an MX lookup), and starts TLS with the CA files and the client
certificate that sendmail.cf names. It shows what sendmail would log about the
host: verify=OK, verify=FAIL, verify=NONE if the host offers no STARTTLS, or
another result. The exit status is 0 only for verify=OK. The connection leaves a
line in the other host's log.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("peer") {
				return a.peer(cmd.Context(), peer)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			r := a.keeper(cfg, quiet(a.logLevel, a.err)).Examine(cmd.Context(), plan.Wish{Once: true})
			rep := report.Check{Version: 1, Problems: report.NonNil(r.Plan.Problems),
				Actions: report.NonNil(r.Plan.Actions)}
			if a.json {
				err = a.printJSON(rep)
			} else {
				p := a.newPage(wallClock())
				page.Check(rep, p)
				err = p.Print(a.out)
			}
			if err != nil {
				return err
			}
			if !r.Plan.Empty() {
				return errTodo
			}
			return verdict(r.Plan)
		},
	}, &a.json)
	cmd.Flags().StringVar(&peer, "peer", "", "show how sendmail would judge the certificate of `host[:port]`")
	return cmd
}

func (c *console) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
