package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/pki"
)

// pickupGrace is how long sendmail may take to serve new files before `--due` reports it; a look in between is no
// failure.
const pickupGrace = 5 * time.Minute

// DueRow is one thing that needs a person. What mailcertd does by itself, and in time, makes no row.
type DueRow struct {
	Severity Severity   `json:"severity"`
	What     string     `json:"what"` // host, DANE, issued, CA, CRL, sendmail, notify, or a reason
	Name     string     `json:"name"` // host name, file, address or command
	Ends     *time.Time `json:"ends,omitempty"`
	Text     string     `json:"text"`
}

// DueFacts is the input of NeedsPerson.
type DueFacts struct {
	Config   config.Config
	Observed Observed
	Plan     Plan
	Issued   []IssuedRow // certificates that end soon, or ended lately, without a successor
	Unread   error       // why Issued is incomplete; nil: it is complete
	Served   []ServedAt
}

// IssuedRow is a row of the CA's database.
type IssuedRow struct {
	ca.Listed
	Renewal time.Time // when its host asks for the next one; zero: it never does
}

// ServedAt is the certificate that a listener served.
type ServedAt struct {
	Addr     string
	Refused  bool   // no program listens
	Error    string // why the listener could not be asked
	STARTTLS bool
	Serial   string
	OnDisk   bool // the served certificate is the one on disk
}

// NeedsPerson lists what needs a person: errors first, then what ends within days. Its texts have times in the zone of
// now.
func NeedsPerson(f DueFacts, days int, now time.Time) []DueRow {
	within := time.Duration(days) * 24 * time.Hour
	var rows []DueRow
	type section = func(DueFacts, time.Duration, time.Time) []DueRow
	for _, of := range []section{hostDue, pairsDue, daneDue, sendmailDue, caDue, issuedDue} {
		rows = append(rows, of(f, within, now)...)
	}
	rows = append(rows, problemsDue(f, rows)...)
	var sorted []DueRow
	for _, s := range []Severity{Error, Warning, Notice} {
		for _, r := range rows {
			if r.Severity == s {
				sorted = append(sorted, r)
			}
		}
	}
	return sorted
}

// toldAs are the problems that other rows report, or delay because they may settle by themselves.
var toldAs = map[Reason]string{Refused: "host", Expired: "host", Expiring: "host", ForeignExpiring: "host",
	CAEnded: "CA", CRLStale: "CRL", PickupPending: "", NotifyPending: ""}

// problemsDue makes rows of the errors of `check` that no action repairs and no other row reports, and of what waits
// for a daemon where none runs. A lost CA is reported long before a certificate ends.
func problemsDue(f DueFacts, told []DueRow) (rows []DueRow) {
	for _, pr := range f.Plan.Problems {
		if pr.Severity != Error && pr.Reason != DaemonDown || pr.Repairable {
			continue
		}
		if what, ok := toldAs[pr.Reason]; ok && (what == "" ||
			slices.ContainsFunc(told, func(r DueRow) bool { return r.What == what })) {
			continue
		}
		text := pr.Text
		if pr.Hint != "" {
			text += "; hint: " + pr.Hint
		}
		rows = append(rows, DueRow{Severity: pr.Severity, What: string(pr.Reason),
			Name: cmp.Or(pr.Path, f.Plan.Facts.Name),
			Text: text})
	}
	return rows
}

// dateOf is the date of t in the zone of now.
func dateOf(t, now time.Time) string { return t.In(now.Location()).Format("2006-01-02") }

// hostDue is about the certificate of this host.
func hostDue(f DueFacts, within time.Duration, now time.Time) []DueRow {
	p := f.Plan
	name := cmp.Or(p.Facts.Name, f.Observed.Certs.Cert.Node.Path)
	var rows []DueRow
	if !p.Facts.Offered && p.Facts.NamesOurs {
		var text strings.Builder
		text.WriteString("sendmail does not offer STARTTLS with these files")
		for _, c := range p.Facts.Verdict.Complaints {
			if c.Fatal {
				text.WriteString(fmt.Sprintf("; %s: %s", c.Path, c.Text))
				break
			}
		}
		rows = append(rows, DueRow{Severity: Error, What: "host", Name: name, Text: text.String()})
	}
	cs := f.Observed.Certs.Cert.File.Certs
	if len(cs) == 0 {
		return rows
	}
	end, own := cs[0].NotAfter.UTC(), p.Facts.Owner == Ours || p.Facts.Owner == Interim
	row := DueRow{Severity: Warning, What: "host", Name: name, Ends: &end}
	switch {
	case !EndsWithin(cs[0].NotBefore, end, within, now):
		return rows
	case f.Config.Issuer.Kind == config.IssuerNone:
		row.Text = "mailcertd does not renew it (issuer is none): get the next one and run `mailcertd install FILE`"
	case !own:
		row.Text = "issued by another CA, so mailcertd does not renew it: to replace it, run " +
			"`mailcertd install FILE` or `mailcertd renew --force`"
	case now.Before(p.Facts.Due):
		return rows
	default:
		row.Text = "its renewal has been due since " + dateOf(p.Facts.Due, now) + lastFailure(f, certdir.Host)
	}
	if now.After(end) {
		row.Severity = Error
		row.Text = "expired; " + row.Text
	}
	return append(rows, row)
}

// pairsDue is about the certificates of the other pairs that sendmail uses.
func pairsDue(f DueFacts, within time.Duration, now time.Time) (rows []DueRow) {
	for _, p := range f.Plan.Facts.Pairs {
		leaf := f.Observed.Certs.Pair(p.Pair).Cert.File.Certs
		if p.Pair == certdir.Host || len(leaf) == 0 || !p.Wanted && !p.Named ||
			!EndsWithin(leaf[0].NotBefore, leaf[0].NotAfter, within, now) {
			continue
		}
		end, text := leaf[0].NotAfter.UTC(), ""
		issuer := f.Config.Issuer.Kind
		if p.Pair == certdir.Client {
			issuer = f.Config.Client.Issuer.Kind
		}
		switch {
		case !p.Owner.mine():
			text = "issued by another CA, so mailcertd does not renew it: replace " + p.Pair.CertFile + " and " +
				p.Pair.KeyFile + ", or move them away"
		case issuer == config.IssuerNone:
			text = "mailcertd does not renew it (issuer is none)"
		case now.Before(p.Due):
			continue
		default:
			text = "its renewal has been due since " + dateOf(p.Due, now) + lastFailure(f, p.Pair)
		}
		row := DueRow{Severity: Warning, What: p.Pair.Name, Name: cmp.Or(f.Plan.Facts.Name, p.Pair.CertFile),
			Ends: &end, Text: text}
		if now.After(end) {
			row.Severity, row.Text = Error, "expired; "+text
		}
		rows = append(rows, row)
	}
	return rows
}

// lastFailure is why the last request for a pair's certificate failed, "" when that is unknown.
func lastFailure(f DueFacts, p certdir.Pair) string {
	if l, failed := f.Plan.State.Failures[ObtainFailureOf(p)]; failed {
		return ": " + l.Error
	}
	for _, pr := range f.Plan.Problems {
		if pr.Reason == CALocked {
			return ": " + pr.Text
		}
	}
	return "; " + daemonHint(f.Observed.Daemon)
}

// sendmailDue is about the sendmail that should serve it, and others who use it.
func sendmailDue(f DueFacts, _ time.Duration, now time.Time) []DueRow {
	var rows []DueRow
	say := func(what, name, text string) {
		rows = append(rows, DueRow{Severity: Error, What: what, Name: name, Text: text})
	}
	if d := f.Plan.State.Pickup; d != nil && (d.Attempts > 0 || now.Sub(d.Since) > pickupGrace) {
		text := "has not picked up the files on disk since " + moment(d.Since)
		if d.LastError != "" {
			text += ": " + d.LastError
		}
		say("sendmail", "pickup", text)
	}
	answered := !Running(f.Observed.MTA) // without a running sendmail no answer is expected
	for _, s := range f.Served {
		answered = answered || !s.Refused
	}
	for _, s := range f.Served {
		switch {
		case s.Refused && answered:
		case s.Error != "":
			say("sendmail", s.Addr, "cannot be asked which certificate it serves: "+s.Error)
		case !s.STARTTLS:
			say("sendmail", s.Addr, "does not offer STARTTLS: "+NotOffered(f.Observed, f.Plan.Facts))
		case !s.OnDisk:
			say("sendmail", s.Addr, "serves serial "+s.Serial+
				", which is not the certificate on disk: run `service sendmail restart`")
		}
	}
	pending := f.Plan.State.Notify
	for _, line := range slices.Sorted(maps.Keys(pending)) {
		if d := pending[line]; d.Attempts > 0 {
			say("notify", line, "this command has failed after the last change of the files: "+d.LastError)
		}
	}
	return rows
}

// caDue is about the CA and its revocation lists.
func caDue(f DueFacts, within time.Duration, now time.Time) []DueRow {
	if f.Config.Issuer.Kind == config.IssuerSSH {
		if cs := f.Observed.Accepted; len(cs) > 0 && EndsWithin(cs[0].NotBefore, cs[0].NotAfter, within, now) {
			return []DueRow{ending("CA", pki.OneLine(cs[0].RawSubject), cs[0].NotAfter, now,
				"the CA at "+f.Config.Issuer.SSH.Target+" has not sent a next generation yet")}
		}
		return nil
	}
	o := f.Observed.CA
	c := o.Current.Cert
	if c == nil {
		return nil
	}
	var rows []DueRow
	ends := EndsWithin(c.NotBefore, c.NotAfter, within, now)
	next := GenerationDue(c.NotBefore, c.NotAfter)
	switch {
	case ends && o.HasNext():
		rows = append(rows, ending("CA", o.Dir.Path, c.NotAfter, now,
			"its next generation is not in force yet: see `mailcertd ca show` for the members that it waits for"))
	case ends || now.After(next) && !o.HasNext():
		rows = append(rows, ending("CA", o.Dir.Path, c.NotAfter, now,
			"its next generation has been due since "+dateOf(next, now)+
				": run `mailcertd ca rollover`"))
	}
	crl := o.CRL
	if (crl.Wanted() || f.Config.CRL.Install) && !crl.Ends().IsZero() && now.After(crl.Due()) {
		rows = append(rows, ending("CRL", o.Dir.Path, crl.Ends(), now,
			"the next one has been due since "+dateOf(crl.Due(), now)+", but could not be made"))
	}
	return rows
}

func ending(what, name string, end, now time.Time, text string) DueRow {
	end = end.UTC()
	r := DueRow{Severity: Warning, What: what, Name: name, Ends: &end, Text: text}
	if now.After(end) {
		r.Severity, r.Text = Error, "expired; "+text
	}
	return r
}

// issuedDue is about certificates that this host's CA issued for others without a successor. A certificate that ended
// longer ago than the days looked ahead makes no row.
func issuedDue(f DueFacts, within time.Duration, now time.Time) []DueRow {
	var rows []DueRow
	if f.Unread != nil {
		rows = append(rows, DueRow{Severity: Error, What: "issued", Name: f.Observed.CA.Dir.Path,
			Text: "not all certificates of the CA could be checked: " + f.Unread.Error()})
	}
	for _, l := range f.Issued {
		byHand, unused := "`mailcertd sign` or `mailcertd issue --replace`", ""
		if l.OtherPair { // issue --replace would revoke the certificate of the other pair
			byHand, unused = "`mailcertd sign`",
				"; if the host no longer uses a key of this type, run `mailcertd revoke "+l.Serial+"`"
		}
		if l.Status == "revoked" || len(l.Names) == 0 || strings.EqualFold(l.Names[0], f.Plan.Facts.Name) {
			continue
		}
		switch {
		case !EndsWithin(l.Begins, l.Expires, within, now), now.Sub(l.Expires) > within:
			continue
		case !l.Renewal.IsZero() && now.Before(l.Renewal):
			continue
		case !l.Renewal.IsZero():
			rows = append(rows, ending("issued", l.Names[0], l.Expires, now,
				"serial "+l.Serial+": its renewal has been due since "+dateOf(l.Renewal, now)+
					", but this member has not asked for it"+unused))
		default:
			rows = append(rows, ending("issued", l.Names[0], l.Expires, now,
				"serial "+l.Serial+", carried by hand: make the next one with "+byHand+unused))
		}
	}
	return rows
}
