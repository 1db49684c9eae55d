// Package sender decides what another mail host does that sends mail to a domain: with DANE (RFC 7672) and with MTA-STS
// (RFC 8461). It is pure: it asks nobody. What was seen of the domain comes in as a Domain.
package sender

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
)

// Lookup is how a question to the resolver ended.
type Lookup struct {
	// Signed says whether the answer is signed, also a negative one; SignedUnknown: nobody on this host checks it.
	Signed dane.Signed
	Err    string // why there is no answer; "" where there is one
}

// failed says that a sender has no answer, so that it does not know what the domain asks for.
func (l Lookup) failed() bool { return l.Err != "" }

// counts says that DANE uses the answer. An answer of which it is not known whether it is signed is taken for signed:
// the report says so once.
func (l Lookup) counts() bool { return !l.failed() && l.Signed != dane.SignedNo }

// Resolver is who was asked.
type Resolver struct {
	Addr  string // address and port; "": none has answered
	Local bool   // it runs on this host
	// Validates says that it checks signatures: it says that the root zone is signed.
	Validates bool
}

// Domain is what was seen of a mail domain.
type Domain struct {
	Name     string // in lower case, without a dot at its end
	Resolver Resolver
	MX       Lookup
	Null     bool // it takes no mail (RFC 7505)
	Implicit bool // it has no MX records, so that its own addresses count (RFC 5321, section 5.1)
	Hosts    []Host
	STS      STS
	RPT      RPT
	Libssl   pki.Libssl
	Now      time.Time
}

// Host is one of its mail hosts.
type Host struct {
	Name       string
	Preference int
	Aliases    []string // the names to which its CNAME records lead
	// Addrs is the lookup of its A and AAAA records, at the end of the CNAME records: the worse of the two.
	Addrs Lookup
	// Alias is the lookup of its first CNAME record alone.
	Alias     Lookup
	Bases     []Base // as Candidates names them
	Addresses []Address
}

// Base is a name whose TLSA records were asked for (TLSA base domain).
type Base struct {
	Name string
	Lookup
	Records []dane.Record
}

// Address is what one address of a mail host shows.
type Address struct {
	IP      string
	Err     string // why there was no reply to EHLO; "": it answered
	Offered bool   // STARTTLS is in its reply
	TLSErr  string // why TLS did not begin although it is offered
	Chain   []*x509.Certificate
	Version uint16
	Cipher  string
	// Public is why the chain does not lead to a CA of this system, or does not name the host, as MTA-STS asks for; "":
	// it does.
	Public string
}

// answered says that there was a reply to EHLO.
func (a Address) answered() bool { return a.Err == "" }

// end is the name at the end of the host's CNAME records.
func (h Host) end() string {
	if n := len(h.Aliases); n > 0 {
		return h.Aliases[n-1]
	}
	return h.Name
}

// Candidates are the names whose TLSA records count, the first one with records before the others (RFC 7672, section
// 2.2.2): the end of the CNAME records where all of them and the addresses are signed, then the host's own name. nil:
// DANE does not apply to the host.
func (h Host) Candidates() []string {
	switch {
	case h.Addrs.failed():
		return nil
	case len(h.Aliases) == 0 && h.Addrs.counts():
		return []string{h.Name}
	case len(h.Aliases) > 0 && h.Addrs.counts():
		return []string{h.end(), h.Name}
	case len(h.Aliases) > 0 && h.Alias.counts():
		return []string{h.Name}
	}
	return nil
}
