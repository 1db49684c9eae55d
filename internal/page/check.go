package page

import (
	"fmt"
	"strings"

	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

// worstOf is the highest severity among the problems that no action repairs; Notice if there is none.
func worstOf(problems []plan.Problem) plan.Severity {
	return plan.Plan{Problems: problems}.Worst()
}

// tally counts problems by severity: 1 error, 2 warnings.
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

// ProblemText is the file, what is wrong with it, and the reason word.
func ProblemText(pr plan.Problem) string {
	where := ""
	if pr.Path != "" {
		where = pr.Path + ": "
	}
	return fmt.Sprintf("%s%s  [%s]", where, pr.Text, pr.Reason)
}

// problemRow draws a problem with its hint, in the two columns of status.
func problemRow(pr plan.Problem, p *Page) {
	p.inked(severityInk(pr.Severity), noInk, pr.Severity.String(), "%s", p.local(ProblemText(pr)))
	if pr.Repairable {
		p.row("", "`mailcertd ensure` repairs it")
	} else if pr.Hint != "" {
		p.row("", "hint: %s", p.local(pr.Hint))
	}
}

// Check draws the problems and what ensure would do.
func Check(rep report.Check, p *Page) {
	if len(rep.Problems)+len(rep.Actions) == 0 {
		p.hanging(green, "everything is in order", "", "")
		return
	}
	for _, pr := range rep.Problems {
		p.hanging(severityInk(pr.Severity), pr.Severity.String()+": ", "  ", p.local(ProblemText(pr)))
		if pr.Hint != "" && !pr.Repairable {
			p.hanging(noInk, "  hint: ", "  ", p.local(pr.Hint))
		}
	}
	for _, act := range rep.Actions {
		p.hanging(noInk, "ensure would ", "  ", fmt.Sprintf("%s  [%s]", act.Text.Base(), act.Reason))
	}
	p.gap()
	p.hanging(noInk, "", "  ", "`mailcertd help REASON` explains a word in [brackets]")
}
