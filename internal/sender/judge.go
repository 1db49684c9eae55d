package sender

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/dane"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// Verdict is what a DANE sender does with one address, or with the mail to a domain.
type Verdict string

// The verdicts.
const (
	Verified      Verdict = "verified"      // it delivers with TLS, to a server that a TLSA record names
	Encrypted     Verdict = "encrypted"     // it delivers only with TLS, and does not know to whom
	Opportunistic Verdict = "opportunistic" // it delivers with TLS, and would deliver without
	Clear         Verdict = "clear"         // it delivers without TLS
	Refused       Verdict = "refused"       // it does not deliver, and keeps the mail for a later try
	Unreachable   Verdict = "unreachable"   // the address does not answer: it tries the next one, or again later
	NoMail        Verdict = "no-mail"       // it returns the mail at once: the domain takes none
)

// weakest orders the verdicts of deliveries: what an attacker can make of a domain by blocking the others.
var weakest = []Verdict{Clear, Opportunistic, Encrypted, Verified}

// Row is what a DANE sender does with one address of a mail host.
type Row struct {
	Verdict Verdict
	Reason  Reason
	Text    string
	Record  dane.Record // the one that fits; the zero Record: none does
}

// Judge decides about one address of a host.
func (d Domain) Judge(h Host, c Course, a Address) Row {
	switch {
	case c.Demand == Never:
		return Row{Verdict: Refused, Reason: c.Reason, Text: c.Text}
	case a.Err != "":
		return Row{Verdict: Unreachable, Reason: Away, Text: a.Err}
	case c.Demand == Nothing && a.Offered && a.TLSErr == "":
		return Row{Verdict: Opportunistic, Reason: c.Reason, Text: c.Text}
	case c.Demand == Nothing && a.Offered:
		return Row{Verdict: Clear, Reason: c.Reason, Text: c.Text + "; TLS is offered and fails: " + a.TLSErr}
	case c.Demand == Nothing:
		return Row{Verdict: Clear, Reason: c.Reason, Text: c.Text + "; STARTTLS is not offered"}
	case !a.Offered:
		return Row{Verdict: Refused, Reason: NoStartTLS, Text: "it does not offer STARTTLS, and the TLSA records of " +
			c.Base + " ask for it"}
	case a.TLSErr != "":
		return Row{Verdict: Refused, Reason: NoTLS, Text: "TLS fails, and the TLSA records of " + c.Base +
			" ask for it: " + a.TLSErr}
	case c.Demand == TLS:
		return Row{Verdict: Encrypted, Reason: c.Reason, Text: c.Text}
	}
	return d.authenticate(c, a)
}

// authenticate compares the chain with the records. Of a record for the leaf (DANE-EE) a sender checks neither names
// nor dates (RFC 7672, section 3.1.1); of one for a CA (DANE-TA) it checks the whole chain and the name.
func (d Domain) authenticate(c Course, a Address) Row {
	row := Row{Verdict: Refused, Reason: Mismatch,
		Text: fmt.Sprintf("no TLSA record of %s matches the certificate that it shows", c.Base)}
	if len(a.Chain) == 0 {
		return row
	}
	for _, r := range c.Usable {
		if r.NamesLeaf() && r.Fits(a.Chain[0]) {
			return Row{Verdict: Verified, Reason: Matched, Record: r,
				Text: r.Kind() + " matches the server's " + what(r)}
		}
	}
	for _, r := range c.Usable {
		if r.NamesLeaf() {
			continue
		}
		anchor := mta.Anchor{Is: r.Fits}
		anchor.Cert, anchor.Key = r.Anchor()
		met, why := mta.Anchored(d.Libssl, a.Chain, anchor, d.Now)
		names := []string{c.Base, d.Name}
		switch {
		case !met:
		case why != "":
			row = Row{Verdict: Refused, Reason: BadChain, Record: r,
				Text: r.Kind() + " matches a CA of the chain, which is not valid: " + why}
		case !slices.ContainsFunc(names, func(n string) bool { return named(a.Chain[0], n) }):
			row = Row{Verdict: Refused, Reason: BadName, Record: r,
				Text: fmt.Sprintf("%s matches a CA of the chain, and the certificate is for %s, not for %s", r.Kind(),
					strings.Join(pki.CertNames(a.Chain[0]), ", "), strings.Join(slices.Compact(names), " or "))}
		default:
			return Row{Verdict: Verified, Reason: Matched, Record: r, Text: r.Kind() + " matches the " + what(r) +
				" of a CA in its chain, and the certificate names the host"}
		}
	}
	return row
}

// what says what a record names.
func what(r dane.Record) string {
	if r.Selector == 0 {
		return "certificate"
	}
	return "key"
}

// named says whether a certificate is for a host name, as X509_check_host(3) decides: by the names in subjectAltName,
// or the common name where there are none. A wildcard stands for one whole label.
func named(c *x509.Certificate, host string) bool {
	return slices.ContainsFunc(pki.CertNames(c), func(n string) bool { return covers(n, host) })
}

func covers(pattern, host string) bool {
	if rest, wild := strings.CutPrefix(pattern, "*."); wild {
		_, above, found := strings.Cut(host, ".")
		return found && above == rest && strings.Contains(rest, ".")
	}
	return pattern == host
}
