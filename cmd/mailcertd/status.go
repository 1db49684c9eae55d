package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/plan"
)

// The formats of status.
const (
	formatText       = "text"
	formatJSON       = "json"
	formatPrometheus = "prometheus"
)

func (a *app) statusCommand() *cobra.Command {
	var probe bool
	var days int
	format := formatText
	cmd := a.jsonFlag(&cobra.Command{
		Use: "status", Args: noArgs,
		Short: "what there is, and what happens next",
		Long: `Says what lies in the certs directory, who issued it, how long it lasts, when it
is renewed, what sendmail was last seen to serve, and the TLSA record. --probe
asks sendmail now (each question leaves a line in its log). --due DAYS prints
only what needs a person within that time, and exits with 1; nothing and 0 when
all is well: what mailcertd renews in time by itself needs nobody.

--format prometheus prints metrics for the textfile collector of node_exporter.
It must never read half a file, so write beside it and rename, for example from
cron(8), as root:

  cd /var/tmp/node_exporter &&
  mailcertd status --format prometheus > mailcertd.$$ &&
  mv mailcertd.$$ mailcertd.prom`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := a.statusFormat(cmd.Flags().Changed("format"), format)
			if err != nil {
				return err
			}
			due := cmd.Flags().Changed("due")
			switch {
			case days < 0 || days > mostDueDays:
				return usageError{errDueDays}
			case due && format == formatPrometheus:
				return usageError{errors.New("--due has no metrics: want --format text or json")}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			r := k.Check(cmd.Context(), plan.Wish{})
			if due {
				a.json = format == formatJSON
				return a.printDue(cmd.Context(), k, cfg, r, days, probe)
			}
			rep := describeStatus(cfg, r, time.Now())
			if probe {
				rep.Serves = describeServed(r, k.Serves(cmd.Context(), r))
			}
			switch format {
			case formatJSON:
				return a.printJSON(rep)
			case formatPrometheus:
				return writeMetrics(a.out, rep)
			}
			p := a.newPage(rep.At)
			statusPage(rep, p)
			return p.writeTo(a.out)
		},
	})
	cmd.Flags().BoolVar(&probe, "probe", false, "ask sendmail what it serves now")
	cmd.Flags().IntVar(&days, "due", 0, "only what needs a person within `days`; the exit status is 1 then")
	cmd.Flags().StringVar(&format, "format", formatText, "print it as `text`, json or prometheus")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatText, formatJSON, formatPrometheus}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// statusFormat is the format that was asked for; --json is another word for json.
func (a *app) statusFormat(given bool, format string) (string, error) {
	switch format {
	case formatText, formatJSON, formatPrometheus:
	default:
		return "", usageError{fmt.Errorf("--format %q: want text, json or prometheus", format)}
	}
	if a.json && given && format != formatJSON {
		return "", usageError{fmt.Errorf("--json and --format %s: want one of them", format)}
	}
	if a.json {
		format = formatJSON
	}
	return format, nil
}
