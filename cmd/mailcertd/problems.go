package main

import (
	"fmt"
	"io"
	"strings"

	"mailcertd/internal/plan"
)

// worstOf is the worst of what no action mends, Notice for nothing.
func worstOf(problems []plan.Problem) plan.Severity {
	return plan.Plan{Problems: problems}.Worst()
}

// tally counts problems by how bad they are: 1 error, 2 warnings.
func tally(problems []plan.Problem) string {
	count := map[plan.Severity]int{}
	for _, pr := range problems {
		count[pr.Severity]++
	}
	var parts []string
	for _, s := range []plan.Severity{plan.Error, plan.Warning, plan.Notice} {
		switch n := count[s]; {
		case n == 1:
			parts = append(parts, "1 "+s.String())
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

func severityInk(s plan.Severity) ink {
	return map[plan.Severity]ink{plan.Error: red, plan.Warning: yellow}[s]
}

// problemText is what is wrong, where, and its word.
func problemText(pr plan.Problem) string {
	where := ""
	if pr.Path != "" {
		where = pr.Path + ": "
	}
	return fmt.Sprintf("%s%s  [%s]", where, pr.Text, pr.Reason)
}

// problemRow is a problem with what to do about it, in the two columns of status.
func problemRow(pr plan.Problem, p *page) {
	p.inked(severityInk(pr.Severity), noInk, pr.Severity.String(), "%s", problemText(pr))
	if pr.Mended {
		p.row("", "`mailcertd ensure` mends it")
	} else if pr.Hint != "" {
		p.row("", "hint: %s", pr.Hint)
	}
}

// checkPage draws problems and what ensure would do.
func checkPage(rep checkReport, p *page) {
	if len(rep.Problems)+len(rep.Actions) == 0 {
		p.hanging(green, "everything is as it should be", "", "")
		return
	}
	for _, pr := range rep.Problems {
		p.hanging(severityInk(pr.Severity), pr.Severity.String()+": ", "  ", problemText(pr))
		if pr.Hint != "" && !pr.Mended {
			p.hanging(noInk, "  hint: ", "  ", pr.Hint)
		}
	}
	for _, act := range rep.Actions {
		p.hanging(noInk, "ensure would ", "  ", fmt.Sprintf("%s  [%s]", act.Text, act.Reason))
	}
	p.gap()
	p.hanging(noInk, "", "  ", "`mailcertd help REASON` explains what stands in [brackets]")
}

// printProblems lists problems for a log, a line each, worst first; what the
// plan itself mends is left out.
func (a *app) printProblems(w io.Writer, p plan.Plan) {
	for _, pr := range p.Problems {
		if pr.Mended {
			continue
		}
		fmt.Fprintf(w, "%s: %s\n", pr.Severity, clean(problemText(pr)))
		if pr.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", clean(pr.Hint))
		}
	}
}
