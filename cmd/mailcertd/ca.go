package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (a *app) caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ca", Short: "the private CA: init, show",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown verb %q: want init or show", "ca "+args[0])}
			}
			return usageError{fmt.Errorf("say what: `mailcertd ca init` or `mailcertd ca show`")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(a.dryRunFlag(&cobra.Command{
		Use: "init", Args: noArgs, Short: "create the CA, or adopt the one that is there",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settle(cmd.Context(), func(*keeper.Keeper, context.Context) plan.Wish { return plan.Wish{MakeCA: true} }); err != nil || a.dryRun {
				return err
			}
			return a.showCA(cmd.Context())
		},
	}), a.jsonFlag(&cobra.Command{
		Use: "show", Args: noArgs, Short: "describe the CA",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showCA(cmd.Context()) },
	}))
	return cmd
}

// caReport is `ca show --json`, version 1.
type caReport struct {
	Version     int            `json:"version"`
	Dir         string         `json:"dir"`
	Status      string         `json:"status"` // absent, unfinished, complete, damaged
	Generations []caGeneration `json:"generations"`
	NextSerial  string         `json:"next_serial,omitempty"` // hex
	Valid       int            `json:"valid"`                 // certificates by status in index.txt
	Revoked     int            `json:"revoked"`
	Expired     int            `json:"expired"`
	NextDue     *time.Time     `json:"next_generation_due,omitempty"`
	Faults      []string       `json:"faults"`
}

type caGeneration struct {
	Current   bool      `json:"current"`
	Subject   string    `json:"subject"` // as in sendmail's CERTIssuer:
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       string    `json:"key"`
	Encrypted bool      `json:"encrypted"`
	Hash      string    `json:"hash"` // OpenSSL's subject hash
}

func (a *app) showCA(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r := a.keeper(cfg, a.quiet()).Check(ctx, plan.Wish{})
	rep := describeCA(r.Observed.CA, time.Now())
	rep.Dir = cfg.CA.Dir
	if a.json {
		return a.printJSON(rep)
	}
	fmt.Fprintf(a.out, "CA directory   %s (%s)\n", rep.Dir, rep.Status)
	for _, g := range rep.Generations {
		what := "older"
		if g.Current {
			what = "current"
		}
		lock := ""
		if g.Encrypted {
			lock = ", with a passphrase"
		}
		fmt.Fprintf(a.out, "%-14s %s\n", what, g.Subject)
		fmt.Fprintf(a.out, "               %s%s, %s to %s, hash %s\n", g.Key, lock, g.NotBefore.Local().Format("2006-01-02"), g.NotAfter.Local().Format("2006-01-02"), g.Hash)
	}
	if rep.NextDue != nil {
		fmt.Fprintf(a.out, "next CA        due %s\n", rep.NextDue.Local().Format("2006-01-02"))
	}
	if rep.Status == ca.Complete.String() {
		fmt.Fprintf(a.out, "certificates   %d valid, %d revoked, %d expired; next serial %s\n", rep.Valid, rep.Revoked, rep.Expired, rep.NextSerial)
	}
	for _, f := range rep.Faults {
		fmt.Fprintf(a.out, "fault          %s\n", f)
	}
	if rep.Status != ca.Complete.String() {
		return errTodo
	}
	return nil
}

func describeCA(o ca.Observed, now time.Time) caReport {
	rep := caReport{Version: 1, Status: o.Status.String(), Generations: []caGeneration{}, Faults: []string{}}
	for i, g := range append([]ca.Generation{o.Current}, o.Older...) {
		if g.Cert == nil {
			continue
		}
		d := caGeneration{Current: i == 0, Subject: pki.OneLine(g.Cert.RawSubject), NotBefore: g.Cert.NotBefore.UTC(), NotAfter: g.Cert.NotAfter.UTC(),
			Key: string(pki.TypeOf(g.Cert.PublicKey)), Hash: pki.HashName(g.Cert.RawSubject, 0)}
		if i == 0 {
			d.Encrypted = o.KeyInfo.Encrypted
			due := plan.GenerationDue(g.Cert.NotBefore, g.Cert.NotAfter).UTC()
			rep.NextDue = &due
		}
		rep.Generations = append(rep.Generations, d)
	}
	if o.Serial != nil {
		rep.NextSerial = fmt.Sprintf("%02X", o.Serial)
	}
	for _, e := range o.Index {
		switch {
		case e.Status == 'R':
			rep.Revoked++
		case e.Status == 'E' || e.Expires.Before(now):
			rep.Expired++
		case e.Status == 'V':
			rep.Valid++
		}
	}
	for _, f := range o.Faults {
		rep.Faults = append(rep.Faults, fmt.Sprintf("%s: %s", f.Path, f.Kind))
	}
	return rep
}
