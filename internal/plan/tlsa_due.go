package plan

import (
	"cmp"
	"time"

	"mailcertd/internal/config"
)

// daneDue says which TLSA records a person has to add or remove. Where mailcertd publishes them it has rows for
// names alone that are no longer configured; that it cannot publish is one of the problems.
func daneDue(f DueFacts, _ time.Duration, _ time.Time) (rows []DueRow) {
	d := f.Plan.TLSA
	name := cmp.Or(f.Plan.Facts.Name, f.Config.Path)
	for _, l := range d.Former {
		rows = append(rows, DueRow{Severity: Warning, What: "DANE", Name: name,
			Text: "remove this record from the DNS, its name is no longer configured: " + l.String()})
	}
	if f.Config.DANE.Publish == config.PublishUpdate {
		return rows
	}
	for _, l := range d.Add {
		rows = append(rows, DueRow{Severity: Warning, What: "DANE", Name: name,
			Text: "add this record to the DNS, and keep the others: " + l.String()})
	}
	for _, l := range d.Remove {
		rows = append(rows, DueRow{Severity: Warning, What: "DANE", Name: name,
			Text: "remove this record from the DNS, its key is no longer used: " + l.String()})
	}
	return rows
}
