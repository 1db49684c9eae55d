package main

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"mailcertd/internal/page"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

func (a *app) checkCommand() *cobra.Command {
	var peer string
	var domain bool
	format := formatText
	cmd := jsonFlag(&cobra.Command{
		Use: "check [--dane [DOMAIN]]", Args: func(cmd *cobra.Command, args []string) error {
			if domain {
				return atMostOne(cmd, args)
			}
			return noArgs(cmd, args)
		},
		Short: "report everything that is wrong, and what ensure would do",
		Long: `Reports problems and changes nothing. The exit status is 1 if there is an error,
or if ensure would do something. Warnings and notices alone give 0. With an ACME
CA, it also asks the CA and the DNS whether an order would succeed, for at most
eight seconds, and orders nothing.

--peer tests another mail host instead: it connects to exactly that host
(without an MX lookup), and starts TLS with the CA files and the client
certificate that sendmail.cf names. It shows what sendmail would log about the
host: verify=OK, verify=FAIL, verify=NONE if the host offers no STARTTLS, or
another result. It also shows what our sendmail serves to that host. The exit
status is 0 only for verify=OK. The connection leaves a line in the other host's
log.

--dane tests a mail domain instead, by default the one of this host: its MX and
TLSA records and their signatures, STARTTLS at every address of every mail host,
and what a host does that sends mail there and checks TLSA records (DANE). The
domain's MTA-STS policy and TLSRPT record are compared with that. The exit
status is 0 only if every address gets mail by verified TLS, and nothing is
wrong. --format prometheus prints metrics of that.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := statusFormat(a.json, cmd.Flags().Changed("format"), format)
			switch {
			case err != nil:
				return err
			case domain && cmd.Flags().Changed("peer"):
				return usageError{errors.New("--dane and --peer: use only one of them")}
			case domain:
				return a.dane(cmd.Context(), args, format)
			case format == formatPrometheus:
				return usageError{errors.New("--format prometheus: only with --dane; `mailcertd status` has the " +
					"metrics of this host")}
			}
			a.json = format == formatJSON
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
	cmd.Flags().BoolVar(&domain, "dane", false, "show what a host does that sends mail to a domain and checks TLSA "+
		"records")
	cmd.Flags().StringVar(&format, "format", formatText, "print the report as `text`, json or prometheus")
	_ = cmd.RegisterFlagCompletionFunc("format",
		cobra.FixedCompletions([]string{formatText, formatJSON, formatPrometheus}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
