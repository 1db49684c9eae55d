package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

const (
	shownPickups = 3
	shownTrust   = 5
	nameLines    = 3 // limits the names of one certificate
)

// Status draws the report. The problems come last, next to the prompt.
func Status(r report.Status, p *Page) {
	mood, text := mood(r.Problems)
	p.inked(noInk, bold, "host", "%s", cmp.Or(r.Name, "no usable name"))
	p.inked(noInk, mood, "", "%s", text)
	p.gap()
	certificateRows(r, p)
	p.gap()
	caRows(r, p)
	p.gap()
	daneRows(r.DANE, p)
	p.gap()
	sendmailRows(r, p)
	p.gap()
	if r.Next != nil {
		when := relative(*r.Next, p.Now)
		if when != "now" {
			when = fmt.Sprintf("%s, %s", p.minute(*r.Next), when)
		}
		p.row("next step", "%s: %s", when, r.NextWhat)
		if r.Daemon != nil && !*r.Daemon {
			p.inked(noInk, yellow, "", "no mailcertd daemon is running, which would do it")
		}
	}
	if p.bars {
		p.legend()
	}
	p.gap()
	for _, pr := range r.Problems {
		problemRow(pr, p)
	}
}

// mood is the summary line.
func mood(problems []plan.Problem) (ink, string) {
	waits := slices.ContainsFunc(problems, func(pr plan.Problem) bool { return pr.Repairable })
	switch worst := worstOf(problems); {
	case worst == plan.Error:
		return red, tally(problems) + ", see below"
	case worst == plan.Warning:
		return yellow, tally(problems) + ", see below"
	case waits:
		return yellow, tally(problems) + ", see below; `mailcertd ensure` does what has to be done"
	case len(problems) > 0:
		return green, "all is well; " + tally(problems) + " below"
	}
	return green, "all is well"
}

func certificateRows(r report.Status, p *Page) {
	room := p.Width - labelWidth
	c := r.Certificate
	if c == nil {
		p.inked(noInk, red, "certificate", "none")
	} else {
		target := ""
		if r.Issuer != nil {
			target = r.Issuer.Target
		}
		p.row("certificate", "serial %s for %s", c.Serial,
			someNames(c.Names, room-len(c.Serial)-len("serial  for "), nameLines))
		p.row("", "%s", originWords(c.Origin, target, c.Carried, p))
		p.row("", "issuer %s", cmp.Or(c.IssuerText, c.Issuer))
		renewalRows(c, p)
	}
	p.row("key", "%s", cmp.Or(r.Key, "none"))
	if r.TLSA != "" {
		record, hash := lastWord(r.TLSA) // the record alone fits on a line of 80
		p.row("TLSA "+record, "%s", hash)
	}
	for _, q := range r.Pairs {
		if q.Name != certdir.Host.Name {
			pairRows(q, p)
		}
	}
	p.row("dh.param", "%s", r.DH)
	for i, t := range r.Trusted {
		label := ""
		if i == 0 {
			label = "trust"
		}
		if i == shownTrust {
			p.row("", "and %d more", len(r.Trusted)-i)
			break
		}
		who := cmp.Or(t.Text, t.Subject)
		if slices.ContainsFunc(r.CA.Generations, func(g report.Generation) bool { return g.SHA256 == t.SHA256 }) {
			who = "the CA on this host"
		}
		p.row(label, "%s, until %s", who, p.day(t.NotAfter))
	}
	if len(r.Trusted) == 0 {
		p.row("trust", "nothing")
	}
}

// pairRows describe a pair other than the host's own.
func pairRows(q report.Pair, p *Page) {
	label, c := q.Name, q.Certificate
	if c == nil {
		p.inked(noInk, red, label, "none")
		return
	}
	p.row(label, "serial %s, key %s", c.Serial, cmp.Or(q.Key, "none"))
	renewalRows(c, p)
	if c.Origin == report.FromACME {
		windowRows("  window", c, p)
	}
	switch {
	case !q.Named:
		p.row("", "sendmail.cf does not name it")
	case q.Name == certdir.Client.Name:
		p.row("", "sendmail shows it to the hosts that it delivers mail to")
	case q.Seen == plan.Proven:
		p.row("", "sendmail was seen to serve it")
	}
	if q.TLSA != "" {
		record, hash := lastWord(q.TLSA)
		p.row("TLSA "+record, "%s", hash)
	}
}

// renewalRows draw the life of a certificate, and say when it is renewed. An interim one is not: it goes when there is
// another.
func renewalRows(c *report.Certificate, p *Page) {
	if c.RenewalBy != plan.DueByIssuer {
		p.life("", c.NotBefore, c.NotAfter, c.Renewal, "renewed")
		if c.Renewal == nil {
			p.row("", "mailcertd does not renew it")
		}
		return
	}
	p.life("", c.NotBefore, c.NotAfter, nil, "")
	const when = "replaced as soon as the CA has signed another"
	switch {
	case c.Renewal == nil:
		p.row("", when)
	case c.Renewal.Before(p.Now.Add(time.Minute)):
		p.row("", when+"; the CA is to be asked now")
	default:
		p.row("", when+"; the CA is asked %s, at %s", relative(*c.Renewal, p.Now), p.minute(*c.Renewal))
	}
}

// acmeRows describe the ACME CA, and why the renewal of the host's certificate is at its time.
func acmeRows(a *report.ACMECA, c *report.Certificate, p *Page) {
	p.row("ACME CA", "%s", a.Directory)
	p.row("  account", "%s", cmp.Or(a.Account, "none yet: the first order creates it"))
	none := "what the CA chooses"
	if a.Account == "" {
		none = "none yet: the first order asks for it"
	}
	p.row("  profile", "%s", cmp.Or(a.Profile, none))
	if a.Fallback != "" {
		p.row("  fallback", "%s", a.Fallback)
	}
	if c != nil && a.Fallback != "" && c.Directory == a.Fallback {
		p.row("", "it issued the certificate; the next renewal asks the first one again")
	}
	if c != nil && c.Origin == report.FromACME {
		windowRows("  window", c, p)
	}
}

// windowRows say why the renewal of a certificate from an ACME CA is at its time.
func windowRows(label string, c *report.Certificate, p *Page) {
	w := cmp.Or(c.Window, &report.Window{})
	if w.Start != nil && w.End != nil {
		p.row(label, "from %s to %s, as the CA proposes", p.minute(*w.Start), p.minute(*w.End))
		label = ""
	}
	switch {
	case c.RenewalBy == plan.DueByEnd:
		p.row(label, "the window begins too late: renewed when a tenth of the lifetime is left")
	case w.Start != nil:
	case c.Window == nil:
		p.row(label, "mailcertd has not asked the CA yet")
	case c.RenewalBy == plan.DueByDays:
		p.row(label, "the CA proposes none: renewed validity.renew_before days before the end")
	default:
		p.row(label, "the CA proposes none: renewed when a third of the lifetime is left")
	}
	if w.Poll != nil {
		p.row("", "the CA is asked again at %s", p.minute(*w.Poll))
	}
}

func caRows(r report.Status, p *Page) {
	if r.ACME != nil {
		acmeRows(r.ACME, r.Certificate, p)
		if r.CA.Status != ca.Complete.String() && r.CA.Error == "" {
			return
		}
	}
	complete := r.CA.Status == ca.Complete.String()
	switch {
	case r.Issuer != nil && r.Issuer.Asked == nil:
		p.row("CA", "on %s (ssh %s); it has not answered yet", hostOf(r.Issuer.Target), r.Issuer.Target)
	case r.Issuer != nil:
		p.row("CA", "on %s (ssh %s); answered %s, %s", hostOf(r.Issuer.Target), r.Issuer.Target,
			p.minute(*r.Issuer.Asked), relative(*r.Issuer.Asked, p.Now))
	case r.IssuerKind == string(config.IssuerNone) && !complete:
		p.row("CA", "none: certificates are installed by hand")
	case r.CA.Error != "":
		p.inked(noInk, red, "CA", "in %s cannot be read: %s", r.CA.Dir, r.CA.Error)
	case complete && r.Issued != nil:
		p.row("CA", "in %s: %d valid, %d expired, %d revoked", r.CA.Dir, r.Issued.Valid, r.Issued.Expired,
			r.Issued.Revoked)
	case r.CA.Status == ca.Absent.String():
		p.row("CA", "there is no CA in %s", r.CA.Dir)
	default:
		p.row("CA", "in %s: %s", r.CA.Dir, r.CA.Status)
	}
	for _, g := range r.CA.Generations {
		label := "  older"
		switch {
		case g.Current:
			label = "  current"
		case g.Next:
			label = "  next"
		}
		due, verb := generationDue(g, r.CA, p.Now)
		p.row(label, "%s", cmp.Or(g.Text, g.Subject))
		p.life("", g.NotBefore, g.NotAfter, due, verb)
	}
	if c := r.CRL; c != nil {
		p.life("  CRL", c.ThisUpdate, c.NextUpdate, c.Renewal, "next one")
		switch {
		case c.Behind:
			p.inked(noInk, red, "", "it does not list a revoked certificate yet")
		case !c.Read:
			p.row("", "no sendmail.cf on this host names it")
		case !c.Installed:
			p.row("", "sendmail.cf names a CRL, but crl.install is false, so this one is not installed")
		}
	}
	if r.Issued != nil {
		issuedRows(*r.Issued, r.Name, p)
	}
}

func issuedRows(is report.Issued, own string, p *Page) {
	for i, l := range is.NextDue {
		label := ""
		if i == 0 {
			label = "  next due"
		}
		how := "renewed by hand"
		switch {
		case len(l.Names) > 0 && l.Names[0] == own:
			how = "this host"
			if l.Pair != "" && l.Pair != certdir.Host.Name {
				how += ", " + l.Pair
			}
		case l.Enrolled:
			how = "member"
		}
		head := fmt.Sprintf("%s  %9s  ", p.day(l.Expires), fmt.Sprintf("%d days", l.Days))
		for j, line := range Wrap(someNames(l.Names, p.Width-labelWidth-len(head), 1)+"; "+how,
			p.Width-labelWidth-len(head)) {
			if j > 0 {
				head = strings.Repeat(" ", len(head))
			}
			p.labelled(noInk, label, head+line, i+j == 0)
		}
	}
	if more := is.Valid - len(is.NextDue); more > 0 {
		p.row("", "and %d more, see `mailcertd list`", more)
	}
}

func sendmailRows(r report.Status, p *Page) {
	s := r.Sendmail
	text, with := s.Status, noInk
	if s.PID != 0 {
		text += fmt.Sprintf(" (pid %d)", s.PID)
	}
	at := func(t *time.Time) string { return p.minute(*t) + ", " + relative(*t, p.Now) }
	switch {
	case s.CFMissing:
		text += "; there is no " + s.CF
	case !s.NamesOurs:
		text, with = text+"; its sendmail.cf names other files", red
	case s.PickupPending:
		text, with = text+"; has not yet picked up the files on disk", yellow
		if s.PickupPendingSince != nil {
			text += ", since " + at(s.PickupPendingSince)
		}
		if s.PickupPendingError != "" {
			text, with = text+": "+s.PickupPendingError, red
		}
	case s.Seen == plan.Proven && s.SeenAt != nil:
		text += "; seen to serve this certificate on " + at(s.SeenAt)
	case s.Seen == plan.StartedLater:
		text += "; started after the last change"
	}
	p.inked(noInk, with, "sendmail", "%s", text)
	for _, v := range r.Serves {
		if v.Pair != "" {
			v.Addr += " (" + v.Pair + ")"
		}
		switch {
		case v.Error != "":
			p.inked(noInk, red, "serves", "%s: %s", v.Addr, v.Error)
		case !v.STARTTLS:
			p.inked(noInk, red, "serves", "%s: no STARTTLS", v.Addr)
		case v.OnDisk:
			p.inked(noInk, green, "serves", "%s: serial %s, as on disk", v.Addr, v.Serial)
		default:
			p.inked(noInk, red, "serves", "%s: serial %s, not the one on disk", v.Addr, v.Serial)
		}
	}
	first := max(len(r.Pickups)-shownPickups, 0)
	for i, d := range r.Pickups[first:] {
		label := ""
		if i == 0 {
			label = "last steps"
		}
		text := p.minute(d.At) + "  " + d.Result
		switch {
		case d.Result == plan.Proven && d.Serial != "":
			text = p.minute(d.At) + "  sendmail served serial " + d.Serial
		case d.Serial != "":
			text += ", serial " + d.Serial
		}
		if d.Detail != "" {
			text += ": " + d.Detail
		}
		p.row(label, "%s", text)
	}
}

// lastWord splits a text before its last word.
func lastWord(s string) (before, last string) {
	i := strings.LastIndexByte(s, ' ')
	return s[:max(i, 0)], s[i+1:]
}
