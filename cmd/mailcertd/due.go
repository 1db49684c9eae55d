package main

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/keeper"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

const (
	mostDueDays = 36500
	// pickupGrace is how long a sendmail that was told of new files may take over
	// them: until then nothing failed, somebody has just looked in between.
	pickupGrace = 5 * time.Minute
)

// errDueDays is a --due that makes no sense.
var errDueDays = fmt.Errorf("--due: want 0 to %d days", mostDueDays)

// dueReport is `status --due DAYS --json`, version 1. Times are UTC, RFC 3339.
type dueReport struct {
	Version int      `json:"version"`
	Within  int      `json:"within_days"`
	Due     []dueRow `json:"due"` // errors first
}

// dueRow is one thing that needs a person. Nothing that mailcertd does by
// itself, and in time, makes a row.
type dueRow struct {
	Severity plan.Severity `json:"severity"`
	What     string        `json:"what"` // host, issued, CA, CRL, sendmail, notify, or a reason
	Name     string        `json:"name"` // host name, file, address or command
	Ends     *time.Time    `json:"ends,omitempty"`
	Text     string        `json:"text"`
}

// dueFacts is what due decides on.
type dueFacts struct {
	config.Config
	keeper.Result
	issued []issuedFact
	served []servedFact
}

// issuedFact is a row of the CA's database.
type issuedFact struct {
	ca.Listed
	begins  time.Time // its notBefore; zero: not known
	renewal time.Time // when its host asks for the next one; zero: it does not
}

// servedFact is what a listener was seen to serve.
type servedFact struct {
	served
	refused bool // nobody listens
}

// printDue prints what needs a person within that many days, and nothing when
// all is well.
func (a *app) printDue(ctx context.Context, k *keeper.Keeper, cfg config.Config, r keeper.Result, days int, probe bool) error {
	now := time.Now()
	f := dueFacts{Config: cfg, Result: r}
	for _, l := range ca.List(r.Observed.CA, now) {
		f.issued = append(f.issued, issuedOf(cfg, r.Observed.CA, l, now.Add(time.Duration(days)*day)))
	}
	if probe && askable(r) {
		for _, s := range k.Serves(ctx, r) {
			line := servedFact{served: served{Addr: s.Addr, STARTTLS: s.Offered, OnDisk: keeper.OnDisk(&r, s.Leaf)}, refused: s.Refused}
			if s.Leaf != nil {
				line.Serial = ca.FormatSerial(s.Leaf.SerialNumber)
			}
			if s.Err != nil {
				line.Error = s.Err.Error()
			}
			f.served = append(f.served, line)
		}
	}
	rep := dueReport{Version: 1, Within: days, Due: nonNil(due(f, days, now))}
	if a.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else if len(rep.Due) > 0 {
		p := a.newPage(now)
		duePage(rep.Due, p)
		if err := p.writeTo(a.out); err != nil {
			return err
		}
	}
	if len(rep.Due) > 0 {
		return errTodo
	}
	return nil
}

// issuedOf adds to a row of the database what its certificate says: when it
// begins and, for that of an enrolled host, when the host asks for the next one,
// if it follows the same configuration as this one. What ends after until is not
// opened: nobody is told of it.
func issuedOf(cfg config.Config, o ca.Observed, l ca.Listed, until time.Time) issuedFact {
	f := issuedFact{Listed: l}
	serial, ok := new(big.Int).SetString(l.Serial, 16)
	if !ok || l.Status == "revoked" || l.Expires.After(until) {
		return f
	}
	cs := pki.ReadCertFile(ca.CertificateFile(o, serial)).Certs
	if len(cs) == 0 {
		return f
	}
	f.begins = cs[0].NotBefore
	if len(l.Names) > 0 && ca.Find(o.Members, l.Names[0]) != nil {
		f.renewal = plan.RenewalDue(cs[0], l.Names[0], cfg.Validity.RenewBefore)
	}
	return f
}

// endsWithin says that an end is near enough to be told to somebody who looks so
// far ahead: within that time, and in the last part of the life.
func endsWithin(from, end time.Time, within time.Duration, now time.Time) bool {
	return !now.Before(plan.WarnFrom(from, end, within))
}

// askable says that a sendmail with our files may be asked what it serves.
func askable(r keeper.Result) bool {
	return r.Plan.Facts.NamesOurs && plan.MayRun(r.Observed.MTA)
}

// due decides what needs a person: errors first, then what ends within days.
func due(f dueFacts, days int, now time.Time) []dueRow {
	within := time.Duration(days) * 24 * time.Hour
	var rows []dueRow
	for _, of := range []func(dueFacts, time.Duration, time.Time) []dueRow{hostDue, sendmailDue, authorityDue, issuedDue} {
		rows = append(rows, of(f, within, now)...)
	}
	rows = append(rows, problemsDue(f, rows)...)
	var sorted []dueRow
	for _, s := range []plan.Severity{plan.Error, plan.Warning, plan.Notice} {
		for _, r := range rows {
			if r.Severity == s {
				sorted = append(sorted, r)
			}
		}
	}
	return sorted
}

// toldAs are the problems that the rows of due tell in their own way, or hold
// back for a while because they may settle by themselves.
var toldAs = map[plan.Reason]string{plan.Refused: "host", plan.Expired: "host", plan.Expiring: "host", plan.ForeignExpiring: "host",
	plan.CAEnded: "CA", plan.CRLStale: "CRL", plan.SendmailOwed: "", plan.NotifyOwed: ""}

// problemsDue is about what `check` calls an error and no action mends, as far
// as no other row says it. A lost CA is told long before a certificate ends.
func problemsDue(f dueFacts, told []dueRow) (rows []dueRow) {
	for _, pr := range f.Plan.Problems {
		if pr.Severity != plan.Error || pr.Mended {
			continue
		}
		if what, ok := toldAs[pr.Reason]; ok && (what == "" || slices.ContainsFunc(told, func(r dueRow) bool { return r.What == what })) {
			continue
		}
		text := pr.Text
		if pr.Hint != "" {
			text += "; hint: " + pr.Hint
		}
		rows = append(rows, dueRow{Severity: pr.Severity, What: string(pr.Reason), Name: or(pr.Path, f.Plan.Facts.Name), Text: text})
	}
	return rows
}

// hostDue is about the certificate of this host.
func hostDue(f dueFacts, within time.Duration, now time.Time) []dueRow {
	p := f.Plan
	name := or(p.Facts.Name, f.Observed.Certs.Cert.Node.Path)
	var rows []dueRow
	if !p.Facts.Offered && p.Facts.NamesOurs {
		text := "sendmail does not offer STARTTLS with the files that lie there"
		for _, c := range p.Facts.Verdict.Complaints {
			if c.Fatal {
				text += fmt.Sprintf("; %s: %s", c.Path, c.Text)
				break
			}
		}
		rows = append(rows, dueRow{Severity: plan.Error, What: "host", Name: name, Text: text})
	}
	cs := f.Observed.Certs.Cert.File.Certs
	if len(cs) == 0 {
		return rows
	}
	end, own := cs[0].NotAfter.UTC(), p.Facts.Owner == plan.Ours || p.Facts.Owner == plan.Interim
	row := dueRow{Severity: plan.Warning, What: "host", Name: name, Ends: &end}
	switch {
	case !endsWithin(cs[0].NotBefore, end, within, now):
		return rows
	case f.Issuer.Kind == config.IssuerNone:
		row.Text = "mailcertd does not renew it (issuer is none): `mailcertd install FILE` brings the next one"
	case !own:
		row.Text = "of another CA, not renewed by mailcertd: `mailcertd install FILE` or `mailcertd renew --force` replaces it"
	case now.Before(p.Facts.Due):
		return rows
	default:
		row.Text = "its renewal has been due since " + p.Facts.Due.Local().Format("2006-01-02") + lastFailure(f)
	}
	if now.After(end) {
		row.Severity = plan.Error
		row.Text = "expired; " + row.Text
	}
	return append(rows, row)
}

// lastFailure is why a certificate could not be had, as far as it is known.
func lastFailure(f dueFacts) string {
	if l, failed := f.Plan.State.Failures[plan.ObtainFailure]; failed {
		return ": " + l.Error
	}
	for _, pr := range f.Plan.Problems {
		if pr.Reason == plan.CALocked {
			return ": " + pr.Text
		}
	}
	return "; does the daemon run? `service mailcertd check` says what is wrong"
}

// sendmailDue is about the sendmail that should serve it, and others who use it.
func sendmailDue(f dueFacts, _ time.Duration, now time.Time) []dueRow {
	var rows []dueRow
	say := func(what, name, text string) {
		rows = append(rows, dueRow{Severity: plan.Error, What: what, Name: name, Text: text})
	}
	if d := f.Plan.State.Debt; d != nil && (d.Attempts > 0 || now.Sub(d.Since) > pickupGrace) {
		text := "has not taken over the files that lie there since " + d.Since.Local().Format("2006-01-02 15:04")
		if d.LastError != "" {
			text += ": " + d.LastError
		}
		say("sendmail", "pickup", text)
	}
	answered := !plan.Running(f.Observed.MTA) // where none runs, nobody is missed
	for _, s := range f.served {
		answered = answered || !s.refused
	}
	for _, s := range f.served {
		switch {
		case s.refused && answered:
		case s.Error != "":
			say("sendmail", s.Addr, "cannot be asked what it serves: "+s.Error)
		case !s.STARTTLS:
			say("sendmail", s.Addr, "does not offer STARTTLS")
		case !s.OnDisk:
			say("sendmail", s.Addr, "serves serial "+s.Serial+", which is not the certificate on disk: `service sendmail restart` mends it")
		}
	}
	owed := f.Plan.State.Notify
	for _, line := range slices.Sorted(maps.Keys(owed)) {
		if d := owed[line]; d.Attempts > 0 {
			say("notify", line, "has not been told of the new certificate: "+d.LastError)
		}
	}
	return rows
}

// authorityDue is about the CA and its revocation lists.
func authorityDue(f dueFacts, within time.Duration, now time.Time) []dueRow {
	if f.Issuer.Kind == config.IssuerSSH {
		if cs := f.Observed.Accepted; len(cs) > 0 && endsWithin(cs[0].NotBefore, cs[0].NotAfter, within, now) {
			return []dueRow{ending("CA", pki.OneLine(cs[0].RawSubject), cs[0].NotAfter, now,
				"the CA at "+f.Issuer.SSH.Target+" has shown no next generation yet")}
		}
		return nil
	}
	o := f.Observed.CA
	c := o.Current.Cert
	if c == nil {
		return nil
	}
	var rows []dueRow
	ends := endsWithin(c.NotBefore, c.NotAfter, within, now)
	next := plan.GenerationDue(c.NotBefore, c.NotAfter)
	switch {
	case ends && o.HasNext():
		rows = append(rows, ending("CA", o.Dir.Path, c.NotAfter, now, "its next generation is not in force yet: `mailcertd ca show` says whom it waits for"))
	case ends || now.After(next) && !o.HasNext():
		rows = append(rows, ending("CA", o.Dir.Path, c.NotAfter, now, "its next generation has been due since "+next.Local().Format("2006-01-02")+": `mailcertd ca rollover` makes it"))
	}
	crl := o.CRL
	if (crl.Wanted() || f.CRL.Install) && !crl.Ends().IsZero() && now.After(crl.Due()) {
		rows = append(rows, ending("CRL", o.Dir.Path, crl.Ends(), now, "could not be made anew, due since "+crl.Due().Local().Format("2006-01-02")))
	}
	return rows
}

func ending(what, name string, end, now time.Time, text string) dueRow {
	end = end.UTC()
	r := dueRow{Severity: plan.Warning, What: what, Name: name, Ends: &end, Text: text}
	if now.After(end) {
		r.Severity, r.Text = plan.Error, "expired; "+text
	}
	return r
}

// issuedDue is about what this host's CA issued for others. A certificate with
// a later one for the same name is replaced, and one that ended longer ago than
// people look ahead is given up.
func issuedDue(f dueFacts, within time.Duration, now time.Time) []dueRow {
	latest := map[string]*big.Int{}
	number := func(l issuedFact) *big.Int {
		n, _ := new(big.Int).SetString(l.Serial, 16)
		return n
	}
	for _, l := range f.issued {
		if n := number(l); n != nil && l.Status != "revoked" && len(l.Names) > 0 {
			key := strings.ToLower(l.Names[0])
			if was := latest[key]; was == nil || n.Cmp(was) > 0 {
				latest[key] = n
			}
		}
	}
	var rows []dueRow
	for _, l := range f.issued {
		n := number(l)
		if n == nil || l.Status == "revoked" || len(l.Names) == 0 || strings.EqualFold(l.Names[0], f.Plan.Facts.Name) {
			continue
		}
		last := latest[strings.ToLower(l.Names[0])]
		switch {
		case n.Cmp(last) < 0, !endsWithin(l.begins, l.Expires, within, now), now.Sub(l.Expires) > within:
			continue
		case !l.renewal.IsZero() && now.Before(l.renewal):
			continue
		case !l.renewal.IsZero():
			rows = append(rows, ending("issued", l.Names[0], l.Expires, now, "serial "+l.Serial+": the host is enrolled and has not asked for the next one, due since "+l.renewal.Local().Format("2006-01-02")))
		default:
			rows = append(rows, ending("issued", l.Names[0], l.Expires, now, "serial "+l.Serial+", carried by hand: `mailcertd sign` or `mailcertd issue --replace` makes the next one"))
		}
	}
	return rows
}

// duePage draws one line for each row, and the reason below it.
func duePage(rows []dueRow, p *page) {
	var head strings.Builder
	t := tabwriter.NewWriter(&head, 0, 8, 2, ' ', 0)
	fmt.Fprint(t, "SEVERITY\tWHAT\tENDS\tDAYS\t\n")
	names := []string{"NAME"}
	for _, r := range rows {
		ends, left := "-", "-"
		if r.Ends != nil {
			ends, left = p.day(*r.Ends), fmt.Sprint(wholeDays(*r.Ends, p.now))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", r.Severity, r.What, ends, left)
		names = append(names, clean(r.Name))
	}
	_ = t.Flush() // into memory
	for i, line := range strings.Split(strings.TrimSuffix(head.String(), "\n"), "\n") {
		with, below := noInk, ""
		if i > 0 {
			with, below = severityInk(rows[i-1].Severity), rows[i-1].Text
		}
		if columns(line)+columns(names[i]) <= p.width {
			line += names[i]
		} else { // it gets lines of its own
			below = names[i] + ": " + below
		}
		first, rest, _ := strings.Cut(strings.TrimRight(line, " "), " ")
		p.lines = append(p.lines, p.paint(first, with)+" "+rest)
		if below == "" {
			continue
		}
		for _, l := range wrap(below, p.width-dueIndent) {
			p.lines = append(p.lines, strings.Repeat(" ", dueIndent)+l)
		}
	}
}

// dueIndent is where the reasons begin: below WHAT.
const dueIndent = 10
