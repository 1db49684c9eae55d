package sender

import (
	"strings"

	"mailcertd/internal/dane"
)

// Demand is what a sender asks of the addresses of a mail host before it delivers.
type Demand string

// The demands.
const (
	Authenticated Demand = "dane"          // TLS, and a certificate that a TLSA record fits
	TLS           Demand = "tls"           // TLS with any certificate
	Nothing       Demand = "opportunistic" // TLS where it is offered, with any certificate
	Never         Demand = "never"         // it does not deliver there
)

// Course is what a DANE sender does with a mail host.
type Course struct {
	Demand Demand
	Reason Reason
	Text   string
	Base   string        // the name of the host whose TLSA records count; "": there are none
	Usable []dane.Record // those by which it authenticates
	Unused []Unused
}

// Unused is a TLSA record that mail hosts ignore.
type Unused struct {
	Record dane.Record
	Why    string
}

// lost is the course for a host of which a sender has no answer.
func lost(l Lookup, what string) Course {
	if l.Signed == dane.SignedBogus {
		return Course{Demand: Never, Reason: Bogus, Text: what + ": " + l.Err}
	}
	return Course{Demand: Never, Reason: NoAnswer, Text: what + ": " + l.Err}
}

// Course decides by RFC 7672, section 2.
func (h Host) Course() Course {
	if h.Addrs.failed() {
		return lost(h.Addrs, "the addresses of "+h.Name+" are not known")
	}
	candidates := h.Candidates()
	if candidates == nil {
		return Course{Demand: Nothing, Reason: Unsigned, Text: "the addresses of " + h.Name + " are not signed"}
	}
	unsigned := ""
	for _, name := range candidates {
		b, asked := h.base(name)
		switch {
		case !asked:
			continue
		case b.failed():
			return lost(b.Lookup, "the TLSA records of "+name+" are not known")
		case !b.counts():
			unsigned = name
			continue
		case len(b.Records) == 0:
			continue
		}
		c := Course{Demand: Authenticated, Base: name, Usable: dane.Usable(b.Records)}
		for _, r := range b.Records {
			if why := r.Fault(); why != "" {
				c.Unused = append(c.Unused, Unused{r, why})
			}
		}
		if len(c.Usable) == 0 {
			c.Demand, c.Reason = TLS, Unusable
			c.Text = "mail hosts use none of the TLSA records of " + name
		}
		return c
	}
	if unsigned != "" {
		return Course{Demand: Nothing, Reason: Unsigned, Text: "the TLSA records of " + unsigned + " are not signed"}
	}
	return Course{Demand: Nothing, Reason: NoRecords,
		Text: "there are no TLSA records of " + strings.Join(candidates, " and ")}
}

func (h Host) base(name string) (Base, bool) {
	for _, b := range h.Bases {
		if b.Name == name {
			return b, true
		}
	}
	return Base{}, false
}
