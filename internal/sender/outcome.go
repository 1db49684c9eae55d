package sender

import (
	"fmt"
	"net/netip"
	"slices"

	"mailcertd/internal/dane"
)

// Outcome is what a DANE sender does with the mail to a domain.
type Outcome struct {
	// Verdict is the weakest of all deliveries that it makes to any mail host, because an attacker who can block the
	// others gets that one.
	Verdict Verdict
	Reason  Reason
	Text    string
	// Checked says that a resolver on this host has checked the signatures. Otherwise the outcome is what a sender does
	// that finds all records signed.
	Checked  bool
	Courses  []Course // of each host
	Rows     [][]Row  // of each address of each host
	Policy   Policy   // of MTA-STS
	Reports  Reports  // of TLSRPT
	Findings []Finding
}

// Fine says that every address gets mail by TLS that is verified, that this was checked, and that nothing is wrong. A
// domain that takes no mail is fine.
func (o Outcome) Fine() bool {
	wrong := slices.ContainsFunc(o.Findings, func(f Finding) bool { return f.Grade == dane.Error })
	return !wrong && (o.Verdict == NoMail || o.Verdict == Verified && o.Checked)
}

// Decide decides about everything.
func Decide(d Domain) Outcome {
	o := Outcome{Checked: d.Resolver.Local && d.Resolver.Validates}
	find := func(f Finding) { o.Findings = append(o.Findings, f) }
	switch {
	case d.MX.failed():
		c := lost(d.MX, "the MX records of "+d.Name+" are not known")
		o.Verdict, o.Reason, o.Text = Refused, c.Reason, c.Text
		find(Finding{Reason: c.Reason, Grade: dane.Error, Text: c.Text, Hint: hints[c.Reason]})
		return o
	case d.Null:
		o.Verdict, o.Reason, o.Text = NoMail, NullMX, d.Name+" takes no mail: its MX record says so (RFC 7505)"
		return o
	}
	if !o.Checked {
		find(d.unchecked())
	}
	used := map[Verdict]int{}
	all := 0
	for _, h := range d.Hosts {
		c := h.Course()
		var rows []Row
		for _, a := range h.Addresses {
			r := d.Judge(h, c, a)
			rows = append(rows, r)
			used[r.Verdict]++
			all++
			grade, say := grades[r.Verdict]
			if r.Verdict == Unreachable && slices.ContainsFunc(h.Addresses, Address.answered) {
				grade = dane.Warning // this host may have no IPv6
			}
			if say {
				find(Finding{r.Reason, grade, h.Name, a.IP, r.Text, hints[r.Reason]})
			}
		}
		if len(h.Addresses) == 0 {
			f := Finding{c.Reason, dane.Error, h.Name, "", c.Text, hints[c.Reason]}
			if c.Demand != Never {
				f.Reason, f.Text = Away, h.Name+" has no address"
				f.Hint = d.addressless(h)
			}
			find(f)
		}
		for _, u := range c.Unused {
			if len(c.Usable) > 0 {
				find(Finding{RecordUnusable, dane.Warning, h.Name, "", u.Record.Kind() + ": " + u.Why,
					hints[RecordUnusable]})
			}
		}
		if d.MX.Signed == dane.SignedNo && c.Demand == Authenticated {
			find(Finding{MXUnsigned, dane.Warning, h.Name, "", "the MX records of " + d.Name + " are not signed: an " +
				"attacker can lead its mail to another host, and some senders do not use the TLSA records of " + h.Name,
				hints[MXUnsigned]})
		}
		o.Courses, o.Rows = append(o.Courses, c), append(o.Rows, rows)
	}
	o.sum(used, all)
	o.Policy = d.STS.read()
	o.Findings = append(o.Findings, d.compare(o.Policy)...)
	o.Reports = d.RPT.read()
	for _, fault := range o.Reports.Faults {
		find(Finding{Reason: RPTWrong, Grade: dane.Error, Text: "TLSRPT: " + fault,
			Hint: "correct the TXT record _smtp._tls." + d.Name})
	}
	slices.SortStableFunc(o.Findings, func(a, b Finding) int { return int(b.Grade) - int(a.Grade) })
	return o
}

// addressless says what to do about a mail host without an address.
func (d Domain) addressless(h Host) string {
	switch {
	case d.Implicit:
		return "correct the name of the domain, or add an MX record to it"
	case isAddress(h.Name):
		return "an MX record has the name of a host and not its address: give the host a name with an A or AAAA " +
			"record, and let the MX record have that name"
	}
	return "add an A or AAAA record, or remove the MX record"
}

// isAddress says that an MX record has an address where it must have a name.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// sum takes the weakest delivery for the whole.
func (o *Outcome) sum(used map[Verdict]int, all int) {
	for _, v := range append(slices.Clone(weakest), Refused, Unreachable) {
		if used[v] == 0 {
			continue
		}
		o.Verdict = v
		for _, rows := range o.Rows {
			for _, r := range rows {
				if r.Verdict == v && o.Reason == "" {
					o.Reason = r.Reason
				}
			}
		}
		break
	}
	if o.Verdict == "" { // no address is known
		o.Verdict, o.Reason = Unreachable, Away
		for _, c := range o.Courses {
			if c.Demand == Never {
				o.Verdict, o.Reason = Refused, c.Reason
			}
		}
	}
	n := used[o.Verdict]
	o.Text = sentences[o.Verdict]
	if all == 0 && o.Verdict == Unreachable { // that is no fault that passes
		o.Text = "finds no address to deliver to, and returns the mail"
	}
	if all > 1 && n < all {
		o.Text += fmt.Sprintf(" (%d of %d addresses)", n, all)
	}
	for _, rows := range o.Rows { // a single address that is refused is not fine
		for _, r := range rows {
			if r.Verdict == Refused && o.Verdict != Refused {
				o.Text += "; other addresses are refused"
				return
			}
		}
	}
}

// sentences say what a DANE sender does.
var sentences = map[Verdict]string{
	Verified:      "delivers with verified TLS",
	Encrypted:     "delivers with TLS only, without knowing to whom",
	Opportunistic: "delivers with TLS where it is offered, without knowing to whom",
	Clear:         "delivers without TLS",
	Refused:       "does not deliver, and tries again later",
	Unreachable:   "reaches no mail host, and tries again later",
}

// grades are those of the rows that become findings.
var grades = map[Verdict]dane.Grade{Refused: dane.Error, Unreachable: dane.Error, Clear: dane.Error,
	Encrypted: dane.Warning, Opportunistic: dane.Warning}

// unchecked says why it is not known whether records are signed.
func (d Domain) unchecked() Finding {
	f := Finding{Reason: Unchecked, Grade: dane.Warning, Hint: hints[Unchecked]}
	if d.Resolver.Local {
		f.Text = "the resolver " + d.Resolver.Addr + " does not check signatures: it does not say that the root " +
			"zone is signed"
	} else {
		f.Text = "the resolver " + d.Resolver.Addr + " is not on this host, so anybody on the way can change its " +
			"answers"
	}
	f.Text += ". mailcertd cannot find out whether the records are signed; the verdict is for a sender that finds " +
		"them signed"
	return f
}

// hints say what a person can do.
var hints = map[Reason]string{
	Mismatch: "publish the TLSA record of the key that it serves, which `mailcertd status` shows on that host, or " +
		"install the key that the record names",
	BadChain: "renew the certificate or complete the chain that the host sends, or publish a 3 1 1 record, for " +
		"which the chain does not count",
	BadName:        "issue a certificate with the name of the host, or publish a 3 1 1 record",
	NoStartTLS:     "run `mailcertd check` on that host, or remove its TLSA records",
	NoTLS:          "run `mailcertd check` on that host",
	Unusable:       "publish a 3 1 1 record",
	RecordUnusable: "remove this TLSA record",
	NoRecords:      "publish a 3 1 1 record, which `mailcertd status` shows on that host",
	Unsigned: "sign the zone (DNSSEC), and give its DS record to the zone above it, usually through the " +
		"registrar",
	MXUnsigned: "sign the zone of the domain (DNSSEC)",
	Bogus:      "sign the zone again, and check that the zone above it has the DS record of one of its keys",
	NoAnswer: "check that the resolver runs, and see its log; `drill MX DOMAIN @SERVER` asks a name server of the " +
		"zone directly",
	Unchecked: "run a resolver on this host that checks signatures (DNSSEC), such as local_unbound, and set " +
		"dns.resolver to 127.0.0.1",
	Away: "run `mailcertd check` on that host; if it reports nothing, look for a firewall between the hosts that " +
		"blocks the port",
}
