package page

import (
	"cmp"
	"fmt"
	"strings"

	"mailcertd/internal/report"
	"mailcertd/internal/sender"
)

// mostRows bounds the mail hosts, records and certificates of each that a page shows; the JSON has all.
const mostRows = 10

// Domain draws a mail domain as a DANE sender sees it.
func Domain(r report.Domain, p *Page) {
	p.row("domain", "%s", r.Domain)
	if a := r.Resolver.Address; a != "" {
		p.row("resolver", "%s, %s", a, resolverText(r.Resolver))
	}
	if hosts := mxText(r); hosts != "" {
		p.row("MX", "%s", hosts)
	}
	who := "a DANE sender "
	if r.Verdict == sender.NoMail || r.Signed == report.SignedBogus || len(r.Hosts) == 0 {
		who = ""
	}
	if !r.Checked && who != "" {
		who = "if the records are signed, " + who
	}
	p.inked(noInk, verdictInk(r.Verdict, r.Fine), "verdict", "%s: %s%s  [%s]", r.Verdict, who, r.Text, r.Reason)
	for i, h := range r.Hosts {
		if i == mostRows {
			p.gap()
			p.row("", "and %d more mail hosts", len(r.Hosts)-i)
			break
		}
		p.gap()
		hostRows(h, p)
	}
	p.gap()
	stsRows(r, p)
	for _, pr := range r.Problems {
		where := strings.TrimSpace(pr.Host + " " + pr.Address)
		if where != "" {
			where += ": "
		}
		p.inked(severityInk(pr.Severity), noInk, pr.Severity.String(), "%s%s  [%s]", where, pr.Text, pr.Reason)
		if pr.Hint != "" {
			p.row("", "hint: %s", pr.Hint)
		}
	}
	p.gap()
	p.hanging(noInk, "", "  ", "`mailcertd help REASON` explains a word in [brackets]")
}

func resolverText(r report.DomainResolver) string {
	switch {
	case !r.Local:
		return "which is not on this host"
	case !r.Validates:
		return "on this host, which does not check signatures"
	}
	return "on this host, which checks signatures"
}

func mxText(r report.Domain) string {
	if len(r.Hosts) == 0 {
		return ""
	}
	if r.Implicit {
		return fmt.Sprintf("none, so the domain is its own mail host; %s", signedText[r.Signed])
	}
	var names []string
	for _, h := range r.Hosts {
		names = append(names, fmt.Sprintf("%d %s", h.Preference, h.Name))
	}
	return someNames(names, 80, 3) + "; " + signedText[r.Signed]
}

var signedText = map[report.Signed]string{report.SignedYes: "signed", report.SignedNo: "not signed",
	report.SignedBogus: "with wrong signatures", report.SignedUnknown: "signatures not checked"}

func verdictInk(v sender.Verdict, fine bool) ink {
	switch v {
	case sender.Verified, sender.NoMail:
		if !fine {
			return yellow
		}
		return green
	case sender.Encrypted, sender.Opportunistic:
		return yellow
	}
	return red
}

// hostRows draws one mail host: its TLSA records, and what each address shows.
func hostRows(h report.DomainHost, p *Page) {
	p.row("mail host", "%s", h.Name)
	if len(h.Aliases) > 0 {
		p.row("", "its CNAME records point to %s", strings.Join(h.Aliases, ", "))
	}
	p.row("addresses", "%d; %s", len(h.Addresses), signedText[h.Signed])
	if len(h.TLSA) > 0 {
		p.row("TLSA", "_25._tcp.%s", h.Base)
	} else {
		p.row("TLSA", "%s", cmp.Or(h.Note, "none"))
	}
	for i, t := range h.TLSA {
		if i == mostRows {
			p.row("", "and %d more records", len(h.TLSA)-i)
			break
		}
		text := fmt.Sprintf("%d %d %d %s", t.Usage, t.Selector, t.Matching, shortData(t.Data))
		if t.Unused != "" {
			text += "  (unused: " + t.Unused + ")"
		}
		p.row("", "%s", text)
	}
	for _, a := range h.Addresses {
		p.row("address", "%s", a.Address)
		p.inked(noInk, verdictInk(a.Verdict, true), "", "%s: %s  [%s]", a.Verdict, a.Text, a.Reason)
		if a.TLS != "" {
			p.row("", "%s, %s", a.TLS, a.Cipher)
		}
		for i, c := range a.Chain {
			if i == mostRows {
				p.row("", "and %d more certificates", len(a.Chain)-i)
				break
			}
			names := ""
			if i == 0 {
				names = " for " + someNames(c.Names, p.Width-labelWidth, 2)
			}
			p.row("", "%d: %s%s, until %s", i, cmp.Or(c.Subject, "no subject"), names, p.day(c.NotAfter))
		}
		if n := len(a.Chain); n > 0 {
			p.row("", "issued by %s", a.Chain[n-1].Issuer)
		}
	}
}

// shortData is the beginning of the data, enough to compare them by eye.
func shortData(s string) string {
	if len(s) > 64 {
		return s[:32] + "..."
	}
	return s
}

// stsRows draw MTA-STS and TLSRPT.
func stsRows(r report.Domain, p *Page) {
	switch s := r.STS; {
	case s == nil && len(r.Hosts) == 0:
		return
	case s == nil:
		p.row("MTA-STS", "none")
	case !s.Usable:
		p.inked(noInk, red, "MTA-STS", "id %s; senders cannot use it", cmp.Or(s.ID, "unknown"))
	default:
		p.row("MTA-STS", "id %s, mode %s, mx %s, for %s", s.ID, s.Mode, someNames(s.MX, p.Width-labelWidth, 3),
			spell(seconds(s.MaxAge)))
	}
	switch t := r.TLSRPT; {
	case t == nil:
		p.row("TLSRPT", "none")
	case !t.Usable:
		p.inked(noInk, red, "TLSRPT", "senders cannot use the record")
	default:
		p.row("TLSRPT", "reports go to %s", strings.Join(t.To, ", "))
	}
	if len(r.Problems) > 0 {
		p.gap()
	}
}
