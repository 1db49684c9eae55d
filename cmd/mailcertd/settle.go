package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/page"
	"mailcertd/internal/plan"
)

// settle is the common part of every verb that changes something.
func (a *app) settle(ctx context.Context, wish func(*keeper.Keeper, context.Context) (plan.Wish, error)) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	k := a.keeper(cfg, quiet(a.logLevel, a.err))
	w, err := wish(k, ctx)
	if err != nil {
		return err
	}
	w.Once = true
	if a.dryRun {
		r := k.Foresee(ctx, w)
		a.printPlan(r)
		return verdict(r.Plan)
	}
	if a.renewing && cfg.Issuer.Kind == config.IssuerLocal { // a person waits for renew
		if err := a.unlock(k, k.CA.Observe()); err != nil {
			return err
		}
	}
	act := k.Settle
	if a.renewing {
		act = k.Renew
	}
	r, err := act(ctx, w)
	a.printDone(r, a.renewing)
	if err = stopped(err, r); err != nil {
		return err
	}
	return verdict(r.Plan)
}

// errInstalled says that a command was stopped when the new files were installed already.
var errInstalled = errors.New("the new files are installed")

// afterSignal says what to do after a command that was stopped.
func afterSignal(err error) string {
	if errors.Is(err, errInstalled) {
		return "the new files are installed: the daemon does the rest; without it, run `mailcertd ensure`"
	}
	return "to go on, run the same command again"
}

// stopped is err, and errInstalled where that is so: the same command would make another certificate, and with --rekey
// --now another key that no TLSA record names.
func stopped(err error, r keeper.Result) error {
	installed := slices.ContainsFunc(r.Done, func(act plan.Action) bool {
		return act.Kind == plan.Install && !act.Extra
	})
	if err != nil && installed {
		return fmt.Errorf("%w; %w", err, errInstalled)
	}
	return err
}

// stepFailed says whether a step of the plan was tried and failed.
func stepFailed(p plan.Plan) bool {
	return slices.ContainsFunc(p.Problems, func(pr plan.Problem) bool { return pr.Reason == plan.StepFailed })
}

// verdict returns errTodo if a remaining problem is an error, else nil. It becomes the exit status.
func verdict(p plan.Plan) error {
	if p.Worst() == plan.Error {
		return errTodo
	}
	return nil
}

func (c *console) printPlan(r keeper.Result) {
	if r.Plan.Empty() {
		fmt.Fprintln(c.out, "nothing to do")
	}
	for _, act := range r.Plan.Actions {
		fmt.Fprintf(c.out, "%s  [%s]\n", page.Clean(act.Text.Would()), act.Reason)
	}
	c.printProblems(c.err, r.Plan)
}

// printDone prints what was done, the result of telling sendmail, and what is left to do. With renewing it also says
// that sendmail does not run: a person who renews a certificate waits until sendmail serves it, while `ensure` runs
// before sendmail.
func (c *console) printDone(r keeper.Result, renewing bool) {
	for _, act := range r.Done {
		fmt.Fprintf(c.out, "%s  [%s]\n", page.Clean(act.Text.Did()), act.Reason)
	}
	if p := r.Pickup; p != nil {
		switch p.Result {
		case plan.Proven:
			note := ""
			if p.Detail != "" {
				note = " (" + p.Detail + ")"
			}
			fmt.Fprintf(c.out, "sendmail serves serial %s at %s%s\n", p.Serial, p.Addr, note)
		default:
			fmt.Fprintf(c.out, "sendmail: %s\n", page.Clean(p.Detail))
		}
	}
	left := r.Plan
	if !renewing {
		left.Problems = slices.DeleteFunc(slices.Clone(left.Problems),
			func(p plan.Problem) bool { return p.Reason == plan.SendmailDown || p.Reason == plan.SubmitNoCA })
	}
	c.printProblems(c.err, left)
	if len(r.Done) == 0 && r.Pickup == nil && r.Plan.Empty() && (r.Plan.Ask == nil || r.Plan.Ask.Request == nil) &&
		r.Plan.Worst() < plan.Error && !stepFailed(r.Plan) {
		fmt.Fprintln(c.out, "nothing to do")
	}
	if len(r.Done) > 0 {
		if cs := r.Observed.Certs.Cert.File.Certs; len(cs) > 0 {
			name := r.Plan.Facts.Name // until an issuer on another host has answered, it may be for the former name
			if names := plan.CertNames(cs[0]); names[0] != "" && !slices.Contains(names, name) {
				name = names[0]
			}
			fmt.Fprintf(c.out, "%s: %s until %s\n", r.Observed.Certs.Cert.Node.Path, page.Clean(name),
				cs[0].NotAfter.Local().Format("2006-01-02"))
		}
	}
}

// printProblems prints the problems, worst first, one line each and a line for a hint. Problems that the plan itself
// repairs are left out.
func (c *console) printProblems(w io.Writer, p plan.Plan) {
	for _, pr := range p.Problems {
		if pr.Repairable {
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", pr.Severity, page.Clean(page.ProblemText(pr)))
		if pr.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", page.Clean(pr.Hint))
		}
	}
}
