package plan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/dane"
)

// daneGrace is for how long the DNS may fail before `--due` reports it: mailcertd tries again by itself.
const daneGrace = 24 * time.Hour

// daneDue says which TLSA records a person has to add or remove, and what else about them a person has to correct
// before it delays mail. What delays mail now is one of the problems.
func daneDue(f DueFacts, _ time.Duration, now time.Time) (rows []DueRow) {
	d := f.Plan.TLSA
	say := func(format string, args ...any) {
		rows = append(rows, DueRow{Severity: Warning, What: "DANE", Name: cmp.Or(f.Plan.Facts.Name, f.Config.Path),
			Text: fmt.Sprintf(format, args...)})
	}
	for _, l := range d.Former {
		say("remove this record from the DNS, its name is no longer configured: %s", l)
	}
	if f.Config.DANE.Publish != config.PublishUpdate {
		for _, l := range d.Add {
			say("add this record to the DNS, and keep the others: %s", l)
		}
		for _, l := range d.Remove {
			say("remove this record from the DNS, its key is no longer used: %s", l)
		}
	} else if l, failed := f.Plan.State.Failures[TLSAFailure]; failed && len(d.Edits) > 0 &&
		now.Sub(l.First) >= daneGrace {
		say("the publication of the TLSA records has failed since %s: %s", dateOf(l.First, now), l.Error)
	}
	for _, n := range d.Notes {
		tells := n.About == dane.AboutFragile || n.About == dane.AboutChange && d.Stage(n.Pair) != dane.Settling ||
			n.About == dane.AboutUnsigned && f.Config.DANE.Publish != config.PublishNone
		if tells && n.Grade == dane.Warning {
			say("%s", strings.TrimSuffix(n.Text+"; hint: "+n.Hint, "; hint: "))
		}
	}
	if !d.Governed {
		return rows
	}
	for _, n := range d.Memory.Names {
		if n.Err != "" && now.Sub(n.Since) >= daneGrace {
			say("the lookup of the TLSA records of %s has failed since %s: %s", strings.TrimSuffix(n.Name, "."),
				dateOf(n.Since, now), n.Err)
		}
	}
	return rows
}
