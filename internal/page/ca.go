package page

import (
	"cmp"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/report"
)

// CA draws the CA with its generations and members. public says that this host trusts public CAs.
func CA(rep report.CA, public bool, p *Page) {
	with := noInk
	if rep.Status == ca.Damaged.String() {
		with = red
	}
	if rep.Error != "" {
		p.inked(noInk, red, "CA directory", "%s cannot be read: %s", rep.Dir, rep.Error)
		if rep.Hint != "" {
			p.row("", "hint: %s", rep.Hint)
		}
		return
	}
	if rep.Status == ca.Absent.String() {
		p.row("CA directory", "there is no CA in %s; to create one, run `mailcertd ca init`", rep.Dir)
		return
	}
	p.inked(noInk, with, "CA directory", "%s (%s)", rep.Dir, rep.Status)
	for _, g := range rep.Generations {
		generationRows(rep, g, p)
	}
	if rep.Deadline != nil {
		p.gap()
		p.row("rollover", "in force by %s at the latest", p.day(*rep.Deadline))
		if len(rep.Waiting) > 0 {
			p.row("", "waits for %s", someNames(rep.Waiting, p.Width-labelWidth-len("waits for "), nameLines))
		}
		if len(rep.Silent) > 0 {
			const heard = "not seen for 30 days, so it does not wait for: "
			p.row("", heard+"%s", someNames(rep.Silent, p.Width-labelWidth-len(heard), nameLines))
		}
	}
	p.gap()
	if rep.Status == ca.Complete.String() {
		p.row("certificates", "%d valid, %d expired, %d revoked", rep.Valid, rep.Expired, rep.Revoked)
	}
	if rep.CRLEnds != nil {
		p.row("CRL", "until %s", p.day(*rep.CRLEnds))
	}
	for i, h := range rep.Hosts {
		label, seen := "", "never seen"
		if i == 0 {
			label = "members"
		}
		if h.Seen != nil {
			seen = "seen " + p.minute(*h.Seen)
		}
		p.row(label, "%s, enrolled %s, %s", h.Name, p.day(h.Enrolled), seen)
	}
	accessRows(rep, public, p)
	if p.bars {
		p.gap()
		p.legend()
	}
	p.gap()
	for _, f := range rep.Faults {
		p.inked(red, noInk, "fault", "%s", f)
	}
}

func generationRows(rep report.CA, g report.Generation, p *Page) {
	label := "older"
	switch {
	case g.Current:
		label = "current"
	case g.Next:
		label = "next"
	}
	due, verb := generationDue(g, rep, p.Now)
	lock := ""
	if g.Encrypted {
		lock = ", with a passphrase"
	}
	p.gap()
	p.row(label, "%s", cmp.Or(g.Text, g.Subject))
	p.life("", g.NotBefore, g.NotAfter, due, verb)
	p.row("", "%s%s, hash %s", g.Key, lock, g.Hash)
	p.row("  SHA-256", "%s", g.SHA256)
}

// generationDue is when the next step for a generation is due, and its verb; nil where there is none.
func generationDue(g report.Generation, rep report.CA, now time.Time) (due *time.Time, verb string) {
	switch {
	case g.Current && rep.Deadline != nil: // the next generation exists
		return nil, ""
	case g.Current:
		return rep.NextDue, "next CA due"
	case g.Next:
		due, verb = rep.Deadline, "in force at the latest"
	default:
		due, verb = g.LastLeaf, "last certificate expires"
	}
	if due != nil && due.Before(now) {
		return nil, ""
	}
	return due, verb
}

// accessRows are lines for sendmail's access map, each unbroken. sendmail looks CERTSubject: up only where CERTIssuer:
// says SUBJECT.
func accessRows(rep report.CA, public bool, p *Page) {
	if rep.Issuer == "" {
		return
	}
	p.gap()
	p.row("access map", "to allow relaying for all hosts of this CA:")
	p.verbatim("", rep.Issuer+" RELAY")
	if rep.Subject != "" {
		p.row("", "or for single hosts only, here for this one:")
		p.verbatim("", rep.Issuer+" SUBJECT")
		p.verbatim("", rep.Subject+" RELAY")
	}
	why := "if public CAs are trusted, everybody with a bought certificate gets verify=OK"
	if public {
		why = "with trust:, everybody with a bought certificate gets verify=OK"
	}
	p.row("", "then run `make -C /etc/mail maps`; never allow relaying because of verify=OK alone: %s", why)
}
