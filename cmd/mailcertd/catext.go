package main

import (
	"time"

	"mailcertd/internal/ca"
)

// caPage draws the CA with its generations, and what concerns other hosts.
// public says that this host trusts public CAs.
func caPage(rep caReport, public bool, p *page) {
	with := noInk
	if rep.Status == ca.Damaged.String() {
		with = red
	}
	if rep.Error != "" {
		p.inked(noInk, red, "CA directory", "%s cannot be looked at: %s", rep.Dir, rep.Error)
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
			p.row("", "waits for %s", someNames(rep.Waiting, p.width-labelWidth-len("waits for "), nameLines))
		}
		if len(rep.Silent) > 0 {
			const heard = "silent for 30 days, not waited for: "
			p.row("", heard+"%s", someNames(rep.Silent, p.width-labelWidth-len(heard), nameLines))
		}
	}
	p.gap()
	if rep.Status == ca.Complete.String() {
		p.row("certificates", "%d valid, %d revoked, %d expired", rep.Valid, rep.Revoked, rep.Expired)
	}
	if rep.CRLEnds != nil {
		p.row("CRL", "until %s", p.day(*rep.CRLEnds))
	}
	for i, h := range rep.Hosts {
		label, seen := "", "never seen"
		if i == 0 {
			label = "hosts"
		}
		if h.Seen != nil {
			seen = "seen " + p.minute(*h.Seen)
		}
		p.row(label, "%s, enrolled %s, %s", h.Name, p.day(h.Enroled), seen)
	}
	accessRows(rep, public, p)
	if p.bars {
		p.gap()
		p.row("bars", "%s", legend)
	}
	p.gap()
	for _, f := range rep.Faults {
		p.inked(red, noInk, "fault", "%s", f)
	}
}

func generationRows(rep caReport, g caGeneration, p *page) {
	label := "older"
	switch {
	case g.Current:
		label = "current"
	case g.Next:
		label = "next"
	}
	due, verb := g.due(rep, p.now)
	lock := ""
	if g.Encrypted {
		lock = ", with a passphrase"
	}
	p.gap()
	p.row(label, "%s", or(g.Text, g.Subject))
	p.life("", g.NotBefore, g.NotAfter, due, verb)
	p.row("", "%s%s, hash %s", g.Key, lock, g.Hash)
	p.row("  SHA-256", "%s", g.SHA256)
}

// due is what comes next for a generation, nil for nothing, and its verb.
func (g caGeneration) due(rep caReport, now time.Time) (due *time.Time, verb string) {
	switch {
	case g.Current && rep.Deadline != nil: // the next one is there
		return nil, ""
	case g.Current:
		return rep.NextDue, "next CA due"
	case g.Next:
		due, verb = rep.Deadline, "in force at the latest"
	default:
		due, verb = g.LastLeaf, "its last certificate ends"
	}
	if due != nil && due.Before(now) {
		return nil, ""
	}
	return due, verb
}

// accessRows are the keys for sendmail's access map, in one piece each.
func accessRows(rep caReport, public bool, p *page) {
	if rep.Issuer == "" {
		return
	}
	p.gap()
	p.verbatim("access map", rep.Issuer)
	if rep.Subject != "" {
		p.verbatim("", rep.Subject)
	}
	why := "where public CAs are trusted, everybody with a bought certificate is verify=OK"
	if public {
		why = "trust: lets everybody with a bought certificate be verify=OK"
	}
	p.row("", "allow relaying by CERTIssuer: or CERTSubject:, never because of verify=OK alone: %s", why)
}
