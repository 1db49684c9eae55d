package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/page"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
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
	cmd := jsonFlag(&cobra.Command{
		Use: "status", Args: noArgs,
		Short: "show the present state and the next steps",
		Long: `Shows the installed certificate, its issuer, the days left, the next renewal,
what sendmail was last seen to serve, and the TLSA record. --probe asks sendmail
now (each question leaves a line in its log). --due DAYS shows only what needs a
person within that time, and the exit status is 1. If nothing does, it prints
nothing and the exit status is 0. What mailcertd renews in time is not shown.

--format prometheus prints metrics for the textfile collector of node_exporter.
The collector must never read an incomplete file, so write to a temporary file
and rename it, for example from cron(8), as root:

  cd /var/tmp/node_exporter &&
  mailcertd status --format prometheus > mailcertd.$$ &&
  mv mailcertd.$$ mailcertd.prom`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := statusFormat(a.json, cmd.Flags().Changed("format"), format)
			if err != nil {
				return err
			}
			due := cmd.Flags().Changed("due")
			switch {
			case days < 0 || days > mostDueDays:
				return usageError{errDueDays}
			case due && format == formatPrometheus:
				return usageError{errors.New("--due has no metrics: use --format text or json")}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			a.overview = !due
			k := a.keeper(cfg, quiet(a.logLevel, a.err))
			r := k.Report(cmd.Context(), plan.Wish{})
			if due {
				a.json = format == formatJSON
				return a.printDue(cmd.Context(), k, cfg, r, days, probe)
			}
			rep := report.NewStatus(version, cfg, r, wallClock())
			if probe {
				rep.AddServed(report.NewServed(r, k.Serves(cmd.Context(), r)))
			}
			switch format {
			case formatJSON:
				return a.printJSON(rep)
			case formatPrometheus:
				return report.WriteMetrics(a.out, rep)
			}
			p := a.newPage(rep.At)
			page.Status(rep, p)
			return p.Print(a.out)
		},
	}, &a.json)
	cmd.Flags().BoolVar(&probe, "probe", false, "ask sendmail now which certificate it serves")
	cmd.Flags().IntVar(&days, "due", 0, "show only what needs a person within `days`; the exit status is 1 then")
	cmd.Flags().StringVar(&format, "format", formatText, "print the report as `text`, json or prometheus")
	_ = cmd.RegisterFlagCompletionFunc("format",
		cobra.FixedCompletions([]string{formatText, formatJSON, formatPrometheus}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// statusFormat returns the format that was asked for; --json means --format json.
func statusFormat(json, given bool, format string) (string, error) {
	switch format {
	case formatText, formatJSON, formatPrometheus:
	default:
		return "", usageError{fmt.Errorf("--format %q: must be text, json or prometheus", format)}
	}
	if json && given && format != formatJSON {
		return "", usageError{fmt.Errorf("--json and --format %s: use only one of them", format)}
	}
	if json {
		format = formatJSON
	}
	return format, nil
}

// printDue prints what needs a person within that many days, and nothing if nothing does.
func (a *app) printDue(ctx context.Context, k *keeper.Keeper, cfg config.Config, r keeper.Result, days int,
	probe bool) error {
	now := wallClock()
	var found []mta.Served
	if probe && askable(r) {
		found = k.Serves(ctx, r)
	}
	rep := report.NewDue(cfg, r, days, found, now)
	if a.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else if len(rep.Due) > 0 {
		p := a.newPage(now)
		page.Due(rep.Due, p)
		if err := p.Print(a.out); err != nil {
			return err
		}
	}
	if len(rep.Due) > 0 {
		return errTodo
	}
	return nil
}

// askable says whether a sendmail that uses our files may be asked which certificate it serves.
func askable(r keeper.Result) bool {
	return r.Plan.Facts.NamesOurs && plan.MayRun(r.Observed.MTA)
}

// mostDueDays is the largest value of --due.
const mostDueDays = 36500

// errDueDays is the error for a value of --due that is out of range.
var errDueDays = fmt.Errorf("--due: must be 0 to %d days", mostDueDays)
