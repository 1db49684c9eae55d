package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailcertd/internal/plan"
)

func (a *app) checkCommand() *cobra.Command {
	var peer string
	cmd := a.jsonFlag(&cobra.Command{
		Use: "check", Args: noArgs,
		Short: "everything that is wrong, and what ensure would do",
		Long: `Looks, and changes nothing. Exits with 1 when ensure would do something or a person must.

--peer asks another mail host instead: STARTTLS to that very host (no MX lookup)
with our certificate, and what sendmail would log of it. Exits with 1 unless that
is verify=OK. The peer's log has a line of it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("peer") {
				return a.peer(cmd.Context(), peer)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			r := a.keeper(cfg, a.quiet()).Check(cmd.Context(), plan.Wish{Once: true})
			if a.json {
				if err := a.printJSON(checkReport{Version: 1, Problems: nonNil(r.Plan.Problems), Actions: nonNil(r.Plan.Actions)}); err != nil {
					return err
				}
			} else {
				if len(r.Plan.Problems) == 0 && r.Plan.Empty() {
					fmt.Fprintln(a.out, "everything is as it should be")
				}
				a.printProblems(a.out, r.Plan, true)
				for _, act := range r.Plan.Actions {
					fmt.Fprintf(a.out, "ensure would %s  [%s]\n", act.Text, act.Reason)
				}
			}
			if !r.Plan.Empty() {
				return errTodo
			}
			return verdict(r.Plan)
		},
	})
	cmd.Flags().StringVar(&peer, "peer", "", "what sendmail makes of the certificate of `host[:port]`")
	return cmd
}

// checkReport is `check --json`, version 1. Times are UTC, RFC 3339.
type checkReport struct {
	Version  int            `json:"version"`
	Problems []plan.Problem `json:"problems"`
	Actions  []plan.Action  `json:"actions"` // what ensure would do, in order
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printProblems lists problems worst first; those that the plan itself mends
// only when all is asked for.
func (a *app) printProblems(w io.Writer, p plan.Plan, all bool) {
	for _, pr := range p.Problems {
		if pr.Mended && !all {
			continue
		}
		where := ""
		if pr.Path != "" {
			where = pr.Path + ": "
		}
		fmt.Fprintf(w, "%s: %s%s  [%s]\n", pr.Severity, where, pr.Text, pr.Reason)
		if pr.Hint != "" && !pr.Mended {
			fmt.Fprintf(w, "  hint: %s\n", pr.Hint)
		}
	}
}
