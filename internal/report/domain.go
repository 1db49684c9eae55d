package report

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/dane"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/sender"
)

// Domain is `check --dane --json`, version 1. Times are UTC, RFC 3339.
type Domain struct {
	Version  int             `json:"version"`
	At       time.Time       `json:"at"`
	Domain   string          `json:"domain"`
	Verdict  sender.Verdict  `json:"verdict"` // what a DANE sender does with mail to the domain
	Reason   sender.Reason   `json:"reason"`
	Text     string          `json:"text"`
	Fine     bool            `json:"fine"`    // the exit status is 0
	Checked  bool            `json:"checked"` // a resolver on this host has checked the signatures
	Resolver DomainResolver  `json:"resolver"`
	Implicit bool            `json:"implicit_mx"` // there are no MX records, so the domain is its own mail host
	Signed   Signed          `json:"mx_signed"`
	Hosts    []DomainHost    `json:"hosts"`
	STS      *DomainPolicy   `json:"mta_sts,omitempty"`
	TLSRPT   *DomainReports  `json:"tlsrpt,omitempty"`
	Problems []DomainProblem `json:"problems"`
}

// DomainResolver is who was asked.
type DomainResolver struct {
	Address   string `json:"address,omitempty"`
	Local     bool   `json:"on_this_host"`
	Validates bool   `json:"checks_signatures"`
}

// Signed says whether an answer is signed (DNSSEC).
type Signed string

// The words of Signed.
const (
	SignedYes     Signed = "yes"
	SignedNo      Signed = "no"
	SignedBogus   Signed = "wrong"
	SignedUnknown Signed = "unknown"
)

// DomainHost is a mail host of the domain.
type DomainHost struct {
	Name       string          `json:"name"`
	Preference int             `json:"preference"`
	Aliases    []string        `json:"aliases,omitempty"` // the names to which its CNAME records lead
	Signed     Signed          `json:"addresses_signed"`
	Demand     sender.Demand   `json:"demand"`
	Base       string          `json:"tlsa_base,omitempty"` // the name whose TLSA records count
	TLSA       []DomainRecord  `json:"tlsa,omitempty"`
	Addresses  []DomainAddress `json:"addresses"`
	Note       string          `json:"note,omitempty"` // why no records count
}

// DomainRecord is a TLSA record of a mail host.
type DomainRecord struct {
	Usage    int    `json:"usage"`
	Selector int    `json:"selector"`
	Matching int    `json:"matching_type"`
	Data     string `json:"data"`
	TTL      int    `json:"ttl"`              // seconds
	Used     bool   `json:"used"`             // mail hosts authenticate by it
	Unused   string `json:"unused,omitempty"` // why they ignore it
}

// DomainAddress is one address of a mail host.
type DomainAddress struct {
	Address string            `json:"address"`
	Verdict sender.Verdict    `json:"verdict"`
	Reason  sender.Reason     `json:"reason"`
	Text    string            `json:"text"`
	Matched string            `json:"matched,omitempty"` // the record that fits, as in a zone file
	TLS     string            `json:"tls,omitempty"`
	Cipher  string            `json:"cipher,omitempty"`
	Chain   []PeerCertificate `json:"chain,omitempty"` // as it was shown, leaf first
}

// DomainPolicy is the domain's MTA-STS.
type DomainPolicy struct {
	ID     string      `json:"id,omitempty"`
	Mode   sender.Mode `json:"mode,omitempty"`
	MX     []string    `json:"mx,omitempty"`
	MaxAge int         `json:"max_age,omitempty"` // seconds
	Usable bool        `json:"usable"`
}

// DomainReports is the domain's TLSRPT record.
type DomainReports struct {
	To     []string `json:"rua,omitempty"`
	Usable bool     `json:"usable"`
}

// DomainProblem is something that is wrong, or worth knowing.
type DomainProblem struct {
	Reason   sender.Reason `json:"reason"`
	Severity plan.Severity `json:"severity"`
	Host     string        `json:"host,omitempty"`
	Address  string        `json:"address,omitempty"`
	Text     string        `json:"text"`
	Hint     string        `json:"hint,omitempty"`
}

// NewDomain describes what was seen of a domain and what follows from it.
func NewDomain(d sender.Domain) Domain {
	o := sender.Decide(d)
	r := Domain{Version: 1, At: d.Now.UTC(), Domain: d.Name, Verdict: o.Verdict, Reason: o.Reason, Text: o.Text,
		Fine: o.Fine(), Checked: o.Checked, Implicit: d.Implicit, Signed: signedWord(d.MX.Signed),
		Resolver: DomainResolver{d.Resolver.Addr, d.Resolver.Local, d.Resolver.Validates},
		Hosts:    []DomainHost{}, Problems: []DomainProblem{}}
	for i, h := range d.Hosts {
		if i < len(o.Courses) {
			r.Hosts = append(r.Hosts, describeHost(h, o.Courses[i], o.Rows[i]))
		}
	}
	if o.Policy.Present {
		r.STS = &DomainPolicy{o.Policy.ID, o.Policy.Mode, o.Policy.MX, o.Policy.MaxAge, len(o.Policy.Faults) == 0}
	}
	if o.Reports.Present {
		r.TLSRPT = &DomainReports{o.Reports.To, len(o.Reports.Faults) == 0}
	}
	for _, f := range o.Findings {
		r.Problems = append(r.Problems, DomainProblem{f.Reason, severityOf[f.Grade], f.Host, f.Address, f.Text, f.Hint})
	}
	return r
}

var severityOf = map[dane.Grade]plan.Severity{dane.Notice: plan.Notice, dane.Warning: plan.Warning,
	dane.Error: plan.Error}

func signedWord(s dane.Signed) Signed {
	if s == dane.SignedUnknown {
		return SignedUnknown
	}
	return Signed(s)
}

func describeHost(h sender.Host, c sender.Course, rows []sender.Row) DomainHost {
	out := DomainHost{Name: h.Name, Preference: h.Preference, Aliases: h.Aliases, Signed: signedWord(h.Addrs.Signed),
		Demand: c.Demand, Base: c.Base, Addresses: []DomainAddress{}}
	if c.Base == "" {
		out.Note = c.Text
	}
	for _, b := range h.Bases {
		if b.Name != c.Base {
			continue
		}
		for _, rec := range b.Records {
			t := DomainRecord{Usage: int(rec.Usage), Selector: int(rec.Selector), Matching: int(rec.Matching),
				Data: rec.Data, TTL: rec.TTL, Unused: rec.Fault()}
			for _, u := range c.Usable {
				t.Used = t.Used || u == rec
			}
			if !t.Used && t.Unused == "" {
				t.Unused = "another record has a stronger digest"
			}
			out.TLSA = append(out.TLSA, t)
		}
	}
	for i, a := range h.Addresses {
		row := rows[i]
		at := DomainAddress{Address: a.IP, Verdict: row.Verdict, Reason: row.Reason, Text: row.Text,
			Cipher: a.Cipher, Chain: describeChain(a.Chain)}
		if a.Version != 0 {
			at.TLS = tlsName(a.Version)
		}
		if row.Record != (dane.Record{}) {
			at.Matched = row.Record.String()
		}
		out.Addresses = append(out.Addresses, at)
	}
	return out
}

func describeChain(chain []*x509.Certificate) (out []PeerCertificate) {
	for _, c := range chain {
		out = append(out, PeerCertificate{Serial: ca.FormatSerial(c.SerialNumber), Subject: pki.OneLine(c.RawSubject),
			Issuer: pki.OneLine(c.RawIssuer), Names: NonNil(plan.CertNames(c)), NotBefore: c.NotBefore.UTC(),
			NotAfter: c.NotAfter.UTC()})
	}
	return out
}
