package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/plan"
)

func (a *app) checkCommand() *cobra.Command {
	var peer string
	cmd := a.jsonFlag(&cobra.Command{
		Use: "check", Args: noArgs,
		Short: "everything that is wrong, and what ensure would do",
		Long: `Looks, and changes nothing. Exits with 1 when ensure would do something or a
person must.

--peer asks another mail host instead: STARTTLS to that very host (no MX lookup)
with our certificate, and what sendmail would log of it. Exits with 1 unless
that is verify=OK. The peer's log has a line of it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("peer") {
				return a.peer(cmd.Context(), peer)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			r := a.keeper(cfg, a.quiet()).Check(cmd.Context(), plan.Wish{Once: true})
			rep := checkReport{Version: 1, Problems: nonNil(r.Plan.Problems), Actions: nonNil(r.Plan.Actions)}
			if a.json {
				err = a.printJSON(rep)
			} else {
				page := a.newPage(time.Now())
				checkPage(rep, page)
				err = page.writeTo(a.out)
			}
			if err != nil {
				return err
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
