package report

import (
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// Due is `status --due DAYS --json`, version 1. Times are UTC, RFC 3339.
type Due struct {
	Version int           `json:"version"`
	Within  int           `json:"within_days"`
	Due     []plan.DueRow `json:"due"` // errors first
}

// NewDue lists what needs a person within that many days. found is what sendmail served; nil where it was not asked.
func NewDue(cfg config.Config, r keeper.Result, days int, found []mta.Served, now time.Time) Due {
	f := plan.DueFacts{Config: cfg, Observed: r.Observed, Plan: r.Plan}
	within := time.Duration(days) * Day
	err := ca.Ending(r.Observed.CA, now, now.Add(-within), now.Add(within), func(l ca.Listed) {
		if plan.EndsWithin(l.Begins, l.Expires, within, now) { // the database may have a million rows
			f.Issued = append(f.Issued, issuedOf(cfg, r.Observed.CA, l))
		}
	})
	if r.Observed.CA.Unread() == nil { // the problems name the error otherwise
		f.Unread = err
	}
	for i, line := range NewServed(r, found) {
		f.Served = append(f.Served, plan.ServedAt{Addr: line.Addr, Refused: found[i].Refused, Error: line.Error,
			STARTTLS: line.STARTTLS, Serial: line.Serial, OnDisk: line.OnDisk})
	}
	return Due{Version: 1, Within: days, Due: NonNil(plan.NeedsPerson(f, days, now))}
}

// issuedOf adds to a row of the database what its certificate says and, for a member, when its host renews it, if that
// host has the same configuration as this one.
func issuedOf(cfg config.Config, o ca.Observed, l ca.Listed) plan.IssuedRow {
	f := plan.IssuedRow{Listed: l}
	if l.Cert != nil && len(l.Names) > 0 && ca.Find(o.Members, l.Names[0]) != nil {
		f.Renewal = plan.RenewalDue(l.Cert, l.Names[0], cfg.Validity.RenewBefore)
	}
	f.Cert = nil // frees memory: there may be many
	return f
}
