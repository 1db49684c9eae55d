package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/plan"
)

const (
	shownDeliveries = 3
	shownTrust      = 5
	nameLines       = 3 // of the names of one certificate
)

// statusPage draws the report. What is calm stands above, what is wrong below,
// where the prompt is.
func statusPage(r statusReport, p *page) {
	mood, text := mood(r.Problems)
	p.inked(noInk, bold, "host", "%s", or(r.Name, "no usable name"))
	p.inked(noInk, mood, "", "%s", text)
	p.gap()
	certificateRows(r, p)
	p.gap()
	authorityRows(r, p)
	p.gap()
	sendmailRows(r, p)
	p.gap()
	if r.Next != nil {
		when := relative(*r.Next, p.now)
		if when != "now" {
			when = fmt.Sprintf("%s, %s", p.minute(*r.Next), when)
		}
		p.row("next step", "%s: %s", when, r.NextWhat)
	}
	if p.bars {
		p.row("bars", "%s", legend)
	}
	p.gap()
	for _, pr := range r.Problems {
		problemRow(pr, p)
	}
}

// mood is the one line that people look for.
func mood(problems []plan.Problem) (ink, string) {
	loud := slices.ContainsFunc(problems, func(pr plan.Problem) bool { return pr.Severity > plan.Notice })
	switch worst := worstOf(problems); {
	case worst == plan.Error:
		return red, tally(problems) + ", see below"
	case worst == plan.Warning:
		return yellow, tally(problems) + ", see below"
	case loud:
		return yellow, tally(problems) + ", see below; `mailcertd ensure` mends what is to be done"
	case len(problems) > 0:
		return green, "all is well; " + tally(problems) + " below"
	}
	return green, "all is well"
}

func certificateRows(r statusReport, p *page) {
	room := p.width - labelWidth
	c := r.Certificate
	if c == nil {
		p.inked(noInk, red, "certificate", "none")
	} else {
		target := ""
		if r.Issuer != nil {
			target = r.Issuer.Target
		}
		p.row("certificate", "serial %s for %s", c.Serial, someNames(c.Names, room-len(c.Serial)-len("serial  for "), nameLines))
		p.row("", "%s", c.Origin.words(target, c.Carried, p))
		p.row("", "issuer %s", or(c.IssuerText, c.Issuer))
		p.life("", c.NotBefore, c.NotAfter, c.Renewal, "renewed")
		if c.Renewal == nil {
			p.row("", "not renewed by mailcertd")
		}
	}
	p.row("key", "%s", or(r.Key, "none"))
	if r.TLSA != "" {
		record, hash := lastWord(r.TLSA) // which has just room on a line of 80
		p.row("TLSA "+record, "%s", hash)
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
		who := or(t.Text, t.Subject)
		if slices.ContainsFunc(r.CA.Generations, func(g caGeneration) bool { return g.SHA256 == t.SHA256 }) {
			who = "the CA on this host"
		}
		p.row(label, "%s, until %s", who, p.day(t.NotAfter))
	}
	if len(r.Trusted) == 0 {
		p.row("trust", "nothing")
	}
}

func authorityRows(r statusReport, p *page) {
	complete := r.CA.Status == ca.Complete.String()
	switch {
	case r.Issuer != nil && r.Issuer.Asked == nil:
		p.row("CA", "on %s (ssh %s); it has not answered yet", hostOf(r.Issuer.Target), r.Issuer.Target)
	case r.Issuer != nil:
		p.row("CA", "on %s (ssh %s); answered %s, %s", hostOf(r.Issuer.Target), r.Issuer.Target, p.minute(*r.Issuer.Asked), relative(*r.Issuer.Asked, p.now))
	case r.IssuerKind == string(config.IssuerNone) && !complete:
		p.row("CA", "none: certificates are installed by hand")
	case r.CA.Error != "":
		p.inked(noInk, red, "CA", "in %s cannot be looked at: %s", r.CA.Dir, r.CA.Error)
	case complete && r.Issued != nil:
		p.row("CA", "in %s: %d valid, %d expired, %d revoked", r.CA.Dir, r.Issued.Valid, r.Issued.Expired, r.Issued.Revoked)
	default:
		p.row("CA", "%s in %s", r.CA.Status, r.CA.Dir)
	}
	for _, g := range r.CA.Generations {
		label := "  older"
		switch {
		case g.Current:
			label = "  in force"
		case g.Next:
			label = "  waiting"
		}
		due, verb := g.due(r.CA, p.now)
		p.row(label, "%s", or(g.Text, g.Subject))
		p.life("", g.NotBefore, g.NotAfter, due, verb)
	}
	if c := r.CRL; c != nil {
		p.life("  CRL", c.ThisUpdate, c.NextUpdate, c.Renewal, "made anew")
		switch {
		case c.Behind:
			p.inked(noInk, red, "", "it lacks a revoked certificate")
		case !c.Read:
			p.row("", "no sendmail.cf here names it")
		case !c.Installed:
			p.row("", "sendmail.cf reads a CRL, and crl.install does not put this one there")
		}
	}
	if r.Issued != nil {
		issuedRows(*r.Issued, r.Name, p)
	}
}

func issuedRows(is issuedReport, own string, p *page) {
	for i, l := range is.NextDue {
		label := ""
		if i == 0 {
			label = "  next due"
		}
		how := "by hand"
		switch {
		case len(l.Names) > 0 && l.Names[0] == own:
			how = "this host"
		case l.Enrolled:
			how = "asks by itself"
		}
		head := fmt.Sprintf("%s  %9s  ", p.day(l.Expires), fmt.Sprintf("%d days", l.Days))
		for j, line := range wrap(someNames(l.Names, p.width-labelWidth-len(head), 1)+"; "+how, p.width-labelWidth-len(head)) {
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

func sendmailRows(r statusReport, p *page) {
	s := r.Sendmail
	text, with := s.Status, noInk
	if s.PID != 0 {
		text += fmt.Sprintf(" (pid %d)", s.PID)
	}
	at := func(t *time.Time) string { return p.minute(*t) + ", " + relative(*t, p.now) }
	switch {
	case s.CFMissing:
		text += "; there is no " + s.CF
	case !s.NamesOurs:
		text, with = text+"; its sendmail.cf does not name these files", red
	case s.Owed:
		text, with = text+"; has not yet taken over the files on disk", yellow
		if s.OwedSince != nil {
			text += ", since " + at(s.OwedSince)
		}
		if s.OwedError != "" {
			text, with = text+": "+s.OwedError, red
		}
	case s.Seen == plan.Proven && s.SeenAt != nil:
		text += "; seen to serve this certificate on " + at(s.SeenAt)
	case s.Seen == plan.StartedLater:
		text += "; started after the last change"
	}
	p.inked(noInk, with, "sendmail", "%s", text)
	for _, v := range r.Serves {
		switch {
		case v.Error != "":
			p.inked(noInk, red, "serves", "%s: %s", v.Addr, v.Error)
		case !v.STARTTLS:
			p.inked(noInk, red, "serves", "%s: no STARTTLS", v.Addr)
		case v.OnDisk:
			p.inked(noInk, green, "serves", "%s: serial %s, as on disk", v.Addr, v.Serial)
		default:
			p.inked(noInk, red, "serves", "%s: serial %s, another than on disk", v.Addr, v.Serial)
		}
	}
	first := max(len(r.Deliveries)-shownDeliveries, 0)
	for i, d := range r.Deliveries[first:] {
		label := ""
		if i == 0 {
			label = "last steps"
		}
		text := p.minute(d.At) + "  " + d.Result
		if d.Serial != "" {
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
