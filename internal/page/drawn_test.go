package page

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"mailcertd/internal/dane"
	"mailcertd/internal/keeper"
	"mailcertd/internal/mta"
	"mailcertd/internal/pickup"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/report"
	"mailcertd/internal/sender"
	"mailcertd/internal/state"
)

// statusOf is the report on a host as plan decides about it. The CA's database does not exist in tests: n is how many
// certificates it would count.
func statusOf(n int, facts ...given.Fact) report.Status {
	w := given.Host(facts...)
	r := report.NewStatus("1.0.0", w.Config, keeper.Result{View: pickup.View{Observed: w.Seen, Plan: w.Plan()}}, w.Now)
	if r.Issued != nil {
		r.Issued.Valid = n
		for i := range min(n, report.MostNextDue) {
			r.Issued.NextDue = append(r.Issued.NextDue, oneOf(i))
		}
	}
	return r
}

// served adds the answers of listeners; the certificate on disk has its serial.
func served(r report.Status, found ...report.Served) report.Status {
	for i := range found {
		if found[i].OnDisk {
			found[i].Serial = r.Certificate.Serial
		}
	}
	r.AddServed(found)
	return r
}

// checkOf is the check report of a host.
func checkOf(facts ...given.Fact) report.Check {
	p := given.Host(facts...).Plan()
	return report.Check{Problems: p.Problems, Actions: p.Actions}
}

// showOf is the `ca show` report of a CA. The counts of its database are invented.
func showOf(facts ...given.Fact) report.CA {
	w := given.Host(facts...)
	r := report.NewCA(w.Config, w.Seen.CA, w.Now)
	if len(r.Generations) > 0 {
		r.Valid, r.Expired, r.NextSerial = 2*len(r.Hosts)+1, 3, "0100"
		r.Subject = "CERTSubject:" + mta.AccessKey("/CN="+given.Name)
	}
	return r
}

// members are n members; every third has never sent a request.
func members(n int, trusts bool) (out []given.Fact) {
	for i := range n {
		heard := report.Day / 2
		if i%3 == 2 {
			heard = 60 * report.Day
		}
		out = append(out, given.Member(fmt.Sprintf("host%d.home.example", i), heard, trusts && i%2 == 0))
	}
	return out
}

// rollover is a CA whose next generation waits and whose older one has unexpired certificates.
func rollover(facts ...given.Fact) []given.Fact {
	return append([]given.Fact{given.CALives(-2500*report.Day, 1150*report.Day), given.Older(50 * report.Day),
		given.ExpiresIn(20 * report.Day), given.Next(true)}, facts...)
}

// inTrouble is a host that has many problems at the same time.
func inTrouble() []given.Fact {
	return []given.Fact{given.CF("O ServerCertFile=/etc/ssl/mail/server.crt",
		"O ServerKeyFile=/etc/ssl/mail/server.key",
		"O CACertFile="+given.Certs+"/cacert.pem", "O CACertPath="+given.Certs), given.System("krb5"),
		given.IsFor("krb5"),
		given.ExpiresIn(20 * report.Day), given.Locked(), given.Mode("host.key", 0o644), given.NoDH(),
		given.Failed("do install "+given.Certs, 3, 5*time.Minute)}
}

// account is an account at an ACME CA.
func account() given.Fact { return given.Account("https://acme.example/acct/1234567", "tlsserver") }

// toldInVain makes a pickup of a sendmail that got a HUP and still serves the old set.
func toldInVain(d *state.Pickup) {
	d.HUPs = []state.HUP{{Instance: d.Instance, At: today.Add(-time.Hour), Sent: true}}
	d.Attempts, d.Next, d.LastError = 3, today.Add(time.Minute),
		"127.0.0.1:25: connection refused\n[::1]:25: connection refused"
}

// oneOf is the row of one certificate in the database.
func oneOf(i int) report.Listed {
	l := report.Listed{Serial: fmt.Sprintf("%04X", i+2), Status: "valid",
		Names: []string{fmt.Sprintf("host%d.home.example", i)}, Expires: days(float64(i) + 9.5), Days: i + 9,
		Enrolled: i%3 == 2, Soon: i < 5}
	switch {
	case i%7 == 6:
		l.Names = append(l.Names, "alias."+l.Names[0], "192.0.2.1", "2001:db8::1")
	case i%50 == 49:
		l.Status, l.Revoked, l.Reason = "revoked", daysPtr(-3), "superseded"
	}
	return l
}

func issuedList(n int, change func(*report.Listed)) report.List {
	rep := report.List{Version: 1, Dir: "/etc/mail/CA", Certificates: []report.Listed{}}
	for i := range n {
		l := oneOf(i)
		if change != nil {
			change(&l)
		}
		rep.Certificates = append(rep.Certificates, l)
	}
	return rep
}

// peer is another host without a problem.
func peer(change func(*report.Peer)) report.Peer {
	r := report.Peer{Version: 1, Peer: "dhcp.home.example:25", Address: "192.0.2.7:25", STARTTLS: true,
		Verify: mta.VerifyOK, TLS: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384",
		Certificate: &report.PeerCertificate{Serial: "1B", Subject: "/CN=dhcp.home.example",
			Issuer: "/O=Home/CN=mailcertd CA krb5.home.example", Names: []string{"dhcp.home.example"},
			NotBefore: days(-100),
			NotAfter:  days(265)},
		Named: true, Asked: true, Presented: true, ListsOurs: true,
		Own: report.Own{Serial: "1A", Verify: mta.VerifyOK}, TrustUsed: true,
		OwnServer: []report.OwnServer{{Serial: "1A", Issuer: "/O=Home/CN=mailcertd CA krb5.home.example",
			Verify: mta.VerifyOK}}}
	if change != nil {
		change(&r)
	}
	return r
}

// domainPage is the report on a mail domain, as package sender decides about it: its one mail host shows the
// certificate of a host as given makes it, and its 3 1 1 record fits.
func domainPage(change func(*sender.Domain)) report.Domain {
	leaf := given.Host().Seen.Certs.Cert.File.Certs[0]
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	signed := sender.Lookup{Signed: dane.SignedYes}
	d := sender.Domain{Name: "home.example", Now: today, MX: signed,
		Resolver: sender.Resolver{Addr: "127.0.0.1:53", Local: true, Validates: true},
		Hosts: []sender.Host{{Name: "mail.home.example", Preference: 10, Addrs: signed,
			Bases: []sender.Base{{Name: "mail.home.example", Lookup: signed, Records: []dane.Record{{Usage: 3,
				Selector: 1,
				Matching: 1, Data: hex.EncodeToString(key[:]), TTL: 3600}}}},
			Addresses: []sender.Address{{IP: "192.0.2.1", Offered: true, Chain: []*x509.Certificate{leaf},
				Version: tls.VersionTLS13, Cipher: "TLS_AES_256_GCM_SHA384"}}}},
		STS: sender.STS{TXT: signed, Texts: []string{"v=STSv1; id=20260701;"}, Asked: true, Status: "200 OK",
			Type: "text/plain", Body: "version: STSv1\nmode: enforce\nmx: *.home.example\nmax_age: 604800\n"},
		RPT: sender.RPT{TXT: signed, Texts: []string{"v=TLSRPTv1; rua=mailto:tls@home.example"}}}
	if change != nil {
		change(&d)
	}
	r := report.NewDomain(d)
	for i := range r.Hosts { // the key is another one in every run
		for j := range r.Hosts[i].TLSA {
			r.Hosts[i].TLSA[j].Data = fill("0123456789abcdef", len(r.Hosts[i].TLSA[j].Data))
		}
	}
	return r
}

// hostile is what an attacker may put into a certificate: escapes, C1 controls, bidirectional marks, broken UTF-8.
const hostile = "O=\x1b]0;owned\x07\x1b[2J, CN=evil\u009b31m\u202egpj.exe\r\nok\xff\u200b"

// drawn returns a function that draws a report. The report is made once and kept.
func drawn[T any](draw func(T, *Page), of func() T) func(*Page) {
	of = sync.OnceValue(of)
	return func(p *Page) { draw(of(), p) }
}

// private and public draw `ca show` on a host that trusts only its own CA, and on one that also trusts public CAs.
func private(r report.CA, p *Page) { CA(r, false, p) }
func public(r report.CA, p *Page)  { CA(r, true, p) }
