package sender

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; by nil signs it itself. ends is when it expires, after now.
func issue(t *testing.T, name string, by *issued, ca bool, ends time.Duration) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-90 * 24 * time.Hour), NotAfter: now.Add(ends), KeyUsage: x509.KeyUsageDigitalSignature}
	if ca {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		c.DNSNames = []string{name}
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return issued{c, key}
}

// record makes a TLSA record of a certificate.
func record(usage, selector, matching uint8, c *x509.Certificate) dane.Record {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return dane.Record{Usage: usage, Selector: selector, Matching: matching, Data: hex.EncodeToString(data)}
}

const mx = "mx.example.org"

var yes, no, unknown = Lookup{Signed: dane.SignedYes}, Lookup{Signed: dane.SignedNo}, Lookup{}
var bogus, silent = Lookup{Signed: dane.SignedBogus, Err: "wrong"}, Lookup{Err: "no answer in time"}

// What a DANE sender does, row by row: each changes one thing of a domain with one mail host, whose 3 1 1 record fits.
func TestVerdicts(t *testing.T) {
	const year = 365 * 24 * time.Hour
	root := issue(t, "Root", nil, true, year)
	middle := issue(t, "Middle", &root, true, year)
	leaf := issue(t, mx, &middle, false, year)
	ended := issue(t, mx, &middle, false, -time.Hour)
	other := issue(t, mx, nil, false, year)
	elsewhere := issue(t, "else.example.net", &middle, false, year)
	ofDomain := issue(t, "example.org", &middle, false, year)
	wild := issue(t, "*.example.org", &middle, false, year)
	long := func(c issued) []*x509.Certificate { return []*x509.Certificate{c.cert, middle.cert, root.cert} }
	fits := record(3, 1, 1, leaf.cert)
	records := func(r ...dane.Record) func(*Domain) { return func(d *Domain) { d.Hosts[0].Bases[0].Records = r } }
	shows := func(c []*x509.Certificate) func(*Domain) {
		return func(d *Domain) { d.Hosts[0].Addresses[0].Chain = c }
	}
	base := func(l Lookup) func(*Domain) { return func(d *Domain) { d.Hosts[0].Bases[0].Lookup = l } }
	addrs := func(l Lookup) func(*Domain) { return func(d *Domain) { d.Hosts[0].Addrs = l } }
	address := func(change func(*Address)) func(*Domain) {
		return func(d *Domain) { change(&d.Hosts[0].Addresses[0]) }
	}
	plain := address(func(a *Address) { a.Offered, a.Chain = false, nil })
	fails := address(func(a *Address) { a.TLSErr, a.Chain = "handshake failure", nil })
	alias := func(end, own Lookup, endRecords []dane.Record) func(*Domain) {
		return func(d *Domain) {
			h := &d.Hosts[0]
			h.Aliases, h.Addrs, h.Alias = []string{"real.example.net"}, end, own
			h.Bases = append(h.Bases, Base{Name: "real.example.net", Lookup: end, Records: endRecords})
		}
	}
	truncated := fits
	truncated.Data = fits.Data[:62]
	for _, c := range []struct {
		name    string
		changes []func(*Domain)
		verdict Verdict
		reason  Reason
		matched string
		fine    bool
	}{
		{"3 1 1 fits", nil, Verified, Matched, "3 1 1", true},
		{"3 1 1 of another key", []func(*Domain){records(record(3, 1, 1, other.cert))}, Refused, Mismatch, "", false},
		{"two records, one fits", []func(*Domain){records(record(3, 1, 1, other.cert), fits)}, Verified, Matched,
			"3 1 1",
			true},
		{"3 0 1 fits", []func(*Domain){records(record(3, 0, 1, leaf.cert))}, Verified, Matched, "3 0 1", true},
		{"3 0 1 of the certificate before", []func(*Domain){records(record(3, 0, 1, ended.cert))}, Refused, Mismatch,
			"",
			false},
		{"3 1 0 fits", []func(*Domain){records(record(3, 1, 0, leaf.cert))}, Verified, Matched, "3 1 0", true},
		{"3 1 2 fits", []func(*Domain){records(record(3, 1, 2, leaf.cert))}, Verified, Matched, "3 1 2", true},
		{"a stronger digest of another key counts alone", []func(*Domain){records(fits, record(3, 1, 2, other.cert))},
			Refused, Mismatch, "", false},
		{"3 1 1 of an expired certificate with another name", []func(*Domain){shows(long(elsewhere)),
			records(record(3, 1, 1, elsewhere.cert))}, Verified, Matched, "3 1 1", true},
		{"3 1 1 of an expired certificate", []func(*Domain){shows(long(ended)), records(record(3, 1, 1, ended.cert))},
			Verified, Matched, "3 1 1", true},
		{"3 1 1 of the CA", []func(*Domain){records(record(3, 1, 1, root.cert))}, Refused, Mismatch, "", false},
		{"2 1 1 of the root", []func(*Domain){records(record(2, 1, 1, root.cert))}, Verified, Matched, "2 1 1", true},
		{"2 0 1 of the intermediate", []func(*Domain){records(record(2, 0, 1, middle.cert))}, Verified, Matched,
			"2 0 1",
			true},
		{"2 1 1 of the leaf", []func(*Domain){records(record(2, 1, 1, leaf.cert))}, Refused, Mismatch, "", false},
		{"2 1 1 of a root that is not shown", []func(*Domain){records(record(2, 1, 1, root.cert)),
			shows([]*x509.Certificate{leaf.cert, middle.cert})}, Refused, Mismatch, "", false},
		{"2 0 0 of a root that is not shown", []func(*Domain){records(record(2, 0, 0, root.cert)),
			shows([]*x509.Certificate{leaf.cert, middle.cert})}, Verified, Matched, "2 0 0", true},
		{"2 1 0 of a root that is not shown", []func(*Domain){records(record(2, 1, 0, root.cert)),
			shows([]*x509.Certificate{leaf.cert, middle.cert})}, Verified, Matched, "2 1 0", true},
		{"2 1 1, expired", []func(*Domain){records(record(2, 1, 1, root.cert)), shows(long(ended))}, Refused, BadChain,
			"2 1 1", false},
		{"2 1 1, another name", []func(*Domain){records(record(2, 1, 1, root.cert)), shows(long(elsewhere))}, Refused,
			BadName, "2 1 1", false},
		{"2 1 1, the name of the domain", []func(*Domain){records(record(2, 1, 1, root.cert)), shows(long(ofDomain))},
			Verified, Matched, "2 1 1", true},
		{"2 1 1, a wildcard", []func(*Domain){records(record(2, 1, 1, root.cert)), shows(long(wild))}, Verified,
			Matched,
			"2 1 1", true},
		{"2 1 1, a chain of others", []func(*Domain){records(record(2, 1, 1, root.cert)),
			shows([]*x509.Certificate{other.cert, root.cert})}, Refused, Mismatch, "", false},

		{"usages 0 and 1 alone", []func(*Domain){records(record(0, 1, 1, root.cert), record(1, 1, 1, leaf.cert))},
			Encrypted, Unusable, "", false},
		{"usages 0 and 1 alone, no STARTTLS", []func(*Domain){records(record(1, 1, 1, leaf.cert)), plain}, Refused,
			NoStartTLS, "", false},
		{"a digest that is too short", []func(*Domain){records(truncated)}, Encrypted, Unusable, "", false},
		{"a usage, selector and matching type that are not known", []func(*Domain){records(record(4, 1, 1, leaf.cert),
			record(3, 2, 1, leaf.cert), record(3, 1, 3, leaf.cert))}, Encrypted, Unusable, "", false},
		{"one unusable, one fits", []func(*Domain){records(truncated, fits)}, Verified, Matched, "3 1 1", true},
		{"a wrong SHA-512 digest does not hide SHA-256", []func(*Domain){records(fits, dane.Record{Usage: 3,
			Selector: 1,
			Matching: 2, Data: "00"})}, Verified, Matched, "3 1 1", true},

		{"no records", []func(*Domain){records()}, Opportunistic, NoRecords, "", false},
		{"no records, no STARTTLS", []func(*Domain){records(), plain}, Clear, NoRecords, "", false},
		{"no records, TLS fails", []func(*Domain){records(), fails}, Clear, NoRecords, "", false},
		{"no STARTTLS", []func(*Domain){plain}, Refused, NoStartTLS, "", false},
		{"TLS fails", []func(*Domain){fails}, Refused, NoTLS, "", false},
		{"away", []func(*Domain){address(func(a *Address) { a.Err = "connection refused" })}, Unreachable, Away, "",
			false},

		{"TLSA not signed", []func(*Domain){base(no)}, Opportunistic, Unsigned, "", false},
		{"TLSA signed wrongly", []func(*Domain){base(bogus)}, Refused, Bogus, "", false},
		{"TLSA without an answer", []func(*Domain){base(silent)}, Refused, NoAnswer, "", false},
		{"addresses not signed", []func(*Domain){addrs(no)}, Opportunistic, Unsigned, "", false},
		{"addresses signed wrongly", []func(*Domain){addrs(bogus)}, Refused, Bogus, "", false},
		{"MX signed wrongly", []func(*Domain){func(d *Domain) { d.MX = bogus }}, Refused, Bogus, "", false},
		{"MX without an answer", []func(*Domain){func(d *Domain) { d.MX = silent }}, Refused, NoAnswer, "", false},
		{"MX not signed, the host is", []func(*Domain){func(d *Domain) { d.MX = no }}, Verified, Matched, "3 1 1",
			true},
		{"null MX", []func(*Domain){func(d *Domain) { d.Null, d.Hosts = true, nil }}, NoMail, NullMX, "", true},
		{"nobody checks signatures", []func(*Domain){addrs(unknown), base(unknown), func(d *Domain) {
			d.MX, d.Resolver.Local = unknown, false
		}}, Verified, Matched, "3 1 1", false},

		{"CNAME: the records at its end", []func(*Domain){records(), alias(yes, yes, []dane.Record{fits})}, Verified,
			Matched, "3 1 1", true},
		{"CNAME: the records at its beginning", []func(*Domain){alias(yes, yes, nil)}, Verified, Matched, "3 1 1",
			true},
		{"CNAME: those at its end go first", []func(*Domain){alias(yes, yes, []dane.Record{record(3, 1, 1,
			other.cert)})},
			Refused, Mismatch, "", false},
		{"CNAME into a zone that is not signed", []func(*Domain){alias(no, yes, []dane.Record{record(3, 1, 1,
			other.cert)})}, Verified, Matched, "3 1 1", true},
		{"CNAME that is not signed", []func(*Domain){alias(no, no, nil)}, Opportunistic, Unsigned, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Domain{Name: "example.org", Resolver: Resolver{Addr: "127.0.0.1:53", Local: true, Validates: true},
				MX:  yes,
				Now: now, STS: STS{TXT: yes}, RPT: RPT{TXT: yes}, Hosts: []Host{{Name: mx, Preference: 10, Addrs: yes,
					Bases:     []Base{{Name: mx, Lookup: yes, Records: []dane.Record{fits}}},
					Addresses: []Address{{IP: "192.0.2.1", Offered: true, Chain: long(leaf)}}}}}
			for _, change := range c.changes {
				change(&d)
			}
			o := Decide(d)
			if o.Verdict != c.verdict || o.Reason != c.reason || o.Fine() != c.fine {
				t.Errorf("%s [%s], fine %v; want %s [%s], fine %v: %s", o.Verdict, o.Reason, o.Fine(), c.verdict,
					c.reason,
					c.fine, o.Text)
			}
			if len(o.Rows) > 0 && len(o.Rows[0]) > 0 {
				got := ""
				if r := o.Rows[0][0].Record; r != (dane.Record{}) {
					got = r.Kind()
				}
				if got != c.matched {
					t.Errorf("the record %q fits, want %q", got, c.matched)
				}
			}
			if !c.fine && len(o.Findings) == 0 {
				t.Error("it is not fine, and nothing says why")
			}
		})
	}
}

// Several mail hosts: the weakest delivery is the verdict, and one address that is refused is an error.
func TestWeakestCounts(t *testing.T) {
	leaf := issue(t, mx, nil, false, time.Hour)
	h := Host{Name: mx, Addrs: yes, Bases: []Base{{Name: mx, Lookup: yes,
		Records: []dane.Record{record(3, 1, 1, leaf.cert)}}},
		Addresses: []Address{{IP: "192.0.2.1", Offered: true, Chain: []*x509.Certificate{leaf.cert}}}}
	second := h
	second.Name, second.Bases = "b.example.org", []Base{{Name: "b.example.org", Lookup: yes}}
	d := Domain{Name: "example.org", Resolver: Resolver{Local: true, Validates: true}, MX: yes, Hosts: []Host{h,
		second},
		Now: now}
	if o := Decide(d); o.Verdict != Opportunistic || o.Reason != NoRecords || o.Fine() {
		t.Errorf("one host has no records: %s [%s] %v", o.Verdict, o.Reason, o.Fine())
	}
	second = h
	second.Addresses = []Address{h.Addresses[0], {IP: "2001:db8::1", Err: "no route to host"}}
	d.Hosts[1] = second
	if o := Decide(d); o.Verdict != Verified || !o.Fine() || len(o.Findings) != 1 {
		t.Errorf("one of two addresses is away: %s %v %v", o.Verdict, o.Fine(), o.Findings)
	}
	second.Addresses = []Address{h.Addresses[0], {IP: "192.0.2.2"}}
	d.Hosts[1] = second
	if o := Decide(d); o.Verdict != Verified || o.Fine() || !strings.Contains(o.Text, "refused") {
		t.Errorf("one of two addresses has no STARTTLS: %s %v %s", o.Verdict, o.Fine(), o.Text)
	}
	d.Hosts[1].Addresses = nil
	if o := Decide(d); o.Fine() || !slices.ContainsFunc(o.Findings, func(f Finding) bool { return f.Reason == Away }) {
		t.Errorf("a host without an address: %v %v", o.Fine(), o.Findings)
	}
}

// Without any address a sender does not try again: it returns the mail. What to do depends on where the name is from.
func TestNoAddress(t *testing.T) {
	for _, c := range []struct {
		host     string
		implicit bool
		hint     string
	}{
		{"example.org", true, "correct the name of the domain"},
		{"mx.example.org", false, "remove the MX record"},
		{"192.0.2.1", false, "not its address"},
	} {
		d := Domain{Name: "example.org", Resolver: Resolver{Local: true, Validates: true}, MX: yes,
			Implicit: c.implicit, Hosts: []Host{{Name: c.host, Addrs: yes, Bases: []Base{{Name: c.host, Lookup: yes}}}},
			Now: now}
		o := Decide(d)
		if o.Verdict != Unreachable || !strings.Contains(o.Text, "returns the mail") || len(o.Findings) != 1 ||
			!strings.Contains(o.Findings[0].Hint, c.hint) {
			t.Errorf("%s: %s: %s: %+v", c.host, o.Verdict, o.Text, o.Findings)
		}
	}
}
