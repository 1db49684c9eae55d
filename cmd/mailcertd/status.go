package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailcertd/internal/ca"
	"mailcertd/internal/plan"
)

func (a *app) statusCommand() *cobra.Command {
	var probe bool
	cmd := a.jsonFlag(&cobra.Command{
		Use: "status", Args: noArgs,
		Short: "what there is, and what happens next",
		Long: `Says what lies in the certs directory, who issued it, how long it lasts, when it
is renewed, what sendmail was last seen to serve, and the TLSA record. --probe
asks sendmail now (each question leaves a line in its log).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			k := a.keeper(cfg, a.quiet())
			r := k.Check(cmd.Context(), plan.Wish{})
			rep := describeStatus(cfg, r, time.Now())
			if probe {
				rep.Serves = describeServed(r, k.Serves(cmd.Context(), r))
			}
			if a.json {
				return a.printJSON(rep)
			}
			a.printStatus(rep)
			return nil
		},
	})
	cmd.Flags().BoolVar(&probe, "probe", false, "ask sendmail what it serves now")
	return cmd
}

func (a *app) printStatus(r statusReport) {
	row := func(label, format string, args ...any) {
		fmt.Fprintf(a.out, "%-13s %s\n", label, fmt.Sprintf(format, args...))
	}
	row("host", "%s", or(r.Name, "no usable name"))
	target := ""
	if r.Issuer != nil {
		target = r.Issuer.Target
	}
	if c := r.Certificate; c != nil {
		row("certificate", "serial %s for %s (%s)", c.Serial, strings.Join(c.Names, ", "), c.Origin.words(target, c.Carried))
		row("", "issued by %s", c.Issuer)
		row("", "%s to %s, %s", c.NotBefore.Local().Format("2006-01-02"), c.NotAfter.Local().Format("2006-01-02"), daysLeft(c.DaysLeft))
		if c.Renewal != nil {
			row("renewal", "%s", c.Renewal.Local().Format("2006-01-02"))
		} else {
			row("renewal", "not by mailcertd")
		}
		row("TLSA", "%s", r.TLSA)
	} else {
		row("certificate", "none")
	}
	row("key", "%s", or(r.Key, "none"))
	row("trust", "%s", or(strings.Join(r.Trust, "; "), "nothing"))
	row("dh.param", "%s", r.DH)
	ca0 := r.CA.Status
	if ca0 == ca.Complete.String() && len(r.CA.Generations) > 0 {
		ca0 = fmt.Sprintf("%s, until %s, %d valid certificate(s)", r.CA.Generations[0].Subject, r.CA.Generations[0].NotAfter.Local().Format("2006-01-02"), r.CA.Valid)
	}
	if o := r.Issuer; o != nil {
		ca0 = "on another host, " + o.Target
		if o.Asked != nil {
			ca0 += fmt.Sprintf("; answered %s, %d generation(s) trusted", o.Asked.Local().Format("2006-01-02 15:04"), o.Trusted)
		} else {
			ca0 += "; has not answered yet"
		}
	}
	row("CA", "%s", ca0)
	s := r.Sendmail
	state := s.Status
	switch {
	case s.CFMissing:
		state += "; there is no " + s.CF
	case !s.NamesOurs:
		state += "; its sendmail.cf does not name these files"
	case s.Owed:
		state += "; has not yet taken over the files on disk"
	case s.Seen == plan.Proven:
		state += fmt.Sprintf("; seen to serve this certificate on %s", s.SeenAt.Local().Format("2006-01-02 15:04"))
	case s.Seen == plan.StartedLater:
		state += "; started after the last change"
	}
	row("sendmail", "%s", state)
	for _, v := range r.Serves {
		switch {
		case v.Error != "":
			row("serves", "%s: %s", v.Addr, v.Error)
		case !v.STARTTLS:
			row("serves", "%s: no STARTTLS", v.Addr)
		case v.OnDisk:
			row("serves", "%s: serial %s, as on disk", v.Addr, v.Serial)
		default:
			row("serves", "%s: serial %s, another than on disk", v.Addr, v.Serial)
		}
	}
	if n := len(r.Deliveries); n > 0 {
		d := r.Deliveries[n-1]
		row("last step", "%s %s %s", d.At.Local().Format("2006-01-02 15:04"), d.Result, d.Detail)
	}
	if r.Next != nil {
		row("next step", "%s: %s", r.Next.Local().Format("2006-01-02 15:04"), r.NextWhat)
	}
	for _, p := range r.Problems {
		row(p.Severity.String(), "%s: %s", or(p.Path, string(p.Reason)), p.Text)
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func daysLeft(n int) string {
	switch {
	case n < 0:
		return "expired"
	case n == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", n)
}
