package main

import (
	"context"
	"errors"
	"fmt"

	"mailcertd/internal/mta"
	"mailcertd/internal/page"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
	"mailcertd/internal/survey"
)

// danePatience is the longest time for all questions. The dialogues with the mail hosts run at the same time.
const danePatience = 2 * mta.Patience

// dane carries out `check --dane [NAME]`: it reports what a host does that sends mail to the domain and checks TLSA
// records.
func (a *app) dane(ctx context.Context, args []string, format string) error {
	o := survey.Options{}
	if len(args) > 0 {
		name, err := mailDomain(args[0])
		if err != nil {
			return usageError{fmt.Errorf("--dane: %q is not a mail domain: it %w", args[0], err)}
		}
		o.Domain = name
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	o.Resolver, o.Now = cfg.DNS.Resolver, wallClock()
	o.Host = a.keeper(cfg, quiet(a.logLevel, a.err)).Check(ctx, plan.Wish{}).Plan.Facts.Name
	if o.Domain == "" && o.Host == "" {
		return usageError{errors.New("--dane: this host has no name with a domain: give the mail domain")}
	}
	dctx, cancel := context.WithTimeout(ctx, danePatience)
	defer cancel()
	shown := a.progress("asking the DNS and every mail host; one may take minutes to send its greeting", danePatience)
	seen, err := survey.Domain(dctx, o)
	shown()
	if err != nil && ctx.Err() != nil {
		return err
	} else if err != nil && dctx.Err() == nil {
		return err
	}
	rep := report.NewDomain(seen)
	switch format {
	case formatJSON:
		err = a.printJSON(rep)
	case formatPrometheus:
		err = report.WriteDomainMetrics(a.out, rep)
	default:
		p := a.newPage(rep.At)
		page.Domain(rep, p)
		err = p.Print(a.out)
	}
	if err == nil && !rep.Fine {
		return errTodo
	}
	return err
}

// mailDomain checks the name of a mail domain, and leaves its last dot out.
func mailDomain(s string) (string, error) {
	name := pki.CanonicalName(s)
	if fault := pki.HostNameFault(name); fault != "" {
		return "", errors.New(fault)
	}
	return name, nil
}
