package page

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

// Due draws one line for each row, and the reason below it.
func Due(rows []plan.DueRow, p *Page) {
	var head strings.Builder
	t := tabwriter.NewWriter(&head, 0, 8, 2, ' ', 0)
	fmt.Fprint(t, "SEVERITY\tWHAT\tENDS\tDAYS\t\n")
	names := []string{"NAME"}
	for _, r := range rows {
		ends, left := "-", "-"
		if r.Ends != nil {
			ends, left = p.day(*r.Ends), fmt.Sprint(report.WholeDays(*r.Ends, p.Now))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", r.Severity, r.What, ends, left)
		names = append(names, Clean(r.Name))
	}
	_ = t.Flush() // it cannot fail: it writes to memory
	for i, line := range strings.Split(strings.TrimSuffix(head.String(), "\n"), "\n") {
		with, below := noInk, ""
		if i > 0 {
			with, below = severityInk(rows[i-1].Severity), rows[i-1].Text
		}
		if columns(line)+columns(names[i]) <= p.Width {
			line += names[i]
		} else { // a reason goes below the row
			below = names[i] + ": " + below
		}
		first, rest, _ := strings.Cut(strings.TrimRight(line, " "), " ")
		p.lines = append(p.lines, p.paint(first, with)+" "+rest)
		if below == "" {
			continue
		}
		for _, l := range Wrap(p.local(below), p.Width-dueIndent) {
			p.lines = append(p.lines, strings.Repeat(" ", dueIndent)+l)
		}
	}
}

// dueIndent is the column of the reasons, below WHAT.
const dueIndent = 10
