package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"mailcertd/internal/ca"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// A zone that is none of Go's own, so that a page that took another shows.
var (
	tokyo = time.FixedZone("JST", 9*60*60)
	today = time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC)
)

func days(n float64) time.Time     { return today.Add(time.Duration(n * float64(day))) }
func daysPtr(n float64) *time.Time { t := days(n); return &t }
func fill(s string, n int) string  { return strings.Repeat(s, n/len(s)+1)[:n] }
func with(do func(*statusReport)) statusReport {
	r := authorityHost(1)
	do(&r)
	return r
}

// authorityHost is a host with a CA that has issued n certificates, all in good order.
func authorityHost(n int) statusReport {
	generation := caGeneration{Current: true, SHA256: fill("c4", 64), Subject: "/O=Home/CN=mailcertd CA krb5.home.example", Text: "O=Home, CN=mailcertd CA krb5.home.example",
		NotBefore: days(-400), NotAfter: days(3250), Key: "ecdsa-p256", Hash: "0a1b2c3d.0"}
	r := statusReport{Version: 1, At: today, Program: "1.0.0", Name: "krb5.home.example", Offered: true, IssuerKind: "local",
		Certificate: &certificate{Path: "/etc/mail/certs/host.cert", Owner: plan.Ours, Origin: fromHere, Names: []string{"krb5.home.example", "mail.home.example"},
			Issuer: "/O=Home/CN=mailcertd CA krb5.home.example", IssuerText: "O=Home, CN=mailcertd CA krb5.home.example", Serial: "1A",
			NotBefore: days(-100), NotAfter: days(265), DaysLeft: 265, Renewal: daysPtr(140), SHA256: fill("ab", 64)},
		Key: "rsa-2048", TLSA: "3 1 1 " + fill("0123456789abcdef", 64), DH: "ffdhe3072",
		Trusted:  []trusted{{Text: "O=Home, CN=mailcertd CA krb5.home.example", SHA256: fill("c4", 64), NotBefore: days(-400), NotAfter: days(3250)}},
		CA:       caReport{Version: 1, Dir: "/etc/mail/CA", Status: ca.Complete.String(), Generations: []caGeneration{generation}, NextDue: daysPtr(2033)},
		Issued:   &issuedReport{Valid: n, NextDue: []listed{}},
		Sendmail: sendmailInfo{CF: "/etc/mail/sendmail.cf", NamesOurs: true, PID: 812, Status: "running", Seen: plan.Proven, SeenAt: daysPtr(-100)},
		Next:     daysPtr(140), NextWhat: "renewal is due",
		Deliveries: []delivery{{At: days(-300), Serial: "03", Result: plan.Proven}, {At: days(-200), Serial: "11", Result: "failed", Detail: "127.0.0.1:25: connection refused"},
			{At: days(-199.99), Serial: "11", Result: plan.Proven}, {At: days(-100), Serial: "1A", Result: plan.Proven}}}
	for i := range min(n, mostNextDue) {
		r.Issued.NextDue = append(r.Issued.NextDue, oneOf(i))
	}
	return r
}

// oneOf is a certificate of the database.
func oneOf(i int) listed {
	l := listed{Serial: fmt.Sprintf("%04X", i+2), Status: "valid", Names: []string{fmt.Sprintf("host%d.home.example", i)}, Expires: days(float64(i) + 9.5), Days: i + 9, Enrolled: i%3 == 2}
	switch {
	case i%7 == 6:
		l.Names = append(l.Names, "alias."+l.Names[0], "192.0.2.1", "2001:db8::1")
	case i%50 == 49:
		l.Status, l.Revoked, l.Reason = "revoked", daysPtr(-3), "superseded"
	}
	return l
}

func issuedList(n int, change func(*listed)) listReport {
	rep := listReport{Version: 1, Dir: "/etc/mail/CA", Certificates: []listed{}}
	for i := range n {
		l := oneOf(i)
		if change != nil {
			change(&l)
		}
		rep.Certificates = append(rep.Certificates, l)
	}
	return rep
}

// shown is a CA with that many enrolled hosts.
func shown(n int, change func(*caReport)) caReport {
	r := authorityHost(0).CA
	r.Valid, r.Expired, r.NextSerial, r.Hosts = 2*n+1, 3, "0100", []caHost{}
	for i := range n {
		h := caHost{Name: fmt.Sprintf("host%d.home.example", i), Enroled: days(-90)}
		if i%3 != 2 {
			h.Seen = daysPtr(-0.5)
		}
		r.Hosts = append(r.Hosts, h)
	}
	r.Issuer = "CERTIssuer:" + mta.AccessKey("/C=JP/O=Home of a family with a long name/OU=Postmaster/CN=mailcertd CA krb5.home.example")
	r.Subject = "CERTSubject:" + mta.AccessKey("/CN=krb5.home.example")
	if change != nil {
		change(&r)
	}
	return r
}

// peer is another host that is as it should be.
func peer(change func(*peerReport)) peerReport {
	r := peerReport{Version: 1, Peer: "dhcp.home.example:25", Address: "192.0.2.7:25", STARTTLS: true, Verify: mta.VerifyOK, TLS: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384",
		Certificate: &peerCert{Serial: "1B", Subject: "/CN=dhcp.home.example", Issuer: "/O=Home/CN=mailcertd CA krb5.home.example", Names: []string{"dhcp.home.example"}, NotBefore: days(-100), NotAfter: days(265)},
		Named:       true, Asked: true, Presented: true, ListsOurs: true, Own: ownReport{Serial: "1A", Verify: mta.VerifyOK}, TrustUsed: true}
	if change != nil {
		change(&r)
	}
	return r
}

var manyProblems = []plan.Problem{
	{Reason: plan.CFOther, Severity: plan.Error, Path: "/etc/mail/sendmail.cf", Text: "names /etc/ssl/mail/server.crt, not /etc/mail/certs/host.cert", Hint: "correct the .mc file, or set certs.dir in mailcertd.yaml"},
	{Reason: plan.SendmailOwed, Severity: plan.Error, Path: "/etc/mail/sendmail.cf", Text: "sendmail (pid 812) has not yet taken over the files, since 2026-11-22; 3 attempt(s), the last: 127.0.0.1:25: connection refused\n[::1]:25: connection refused", Hint: "mailcertd retries; `service sendmail restart` settles it"},
	{Reason: plan.ModeRefused, Severity: plan.Error, Path: "/etc/mail/certs/host.key", Text: "mode 0644: sendmail refuses a key that others can read", Mended: true},
	{Reason: plan.CALocked, Severity: plan.Warning, Path: "/etc/mail/CA/cakey.pem", Text: "the CA key has a passphrase: nothing can be signed unattended; the certificate ends on 2027-08-15", Hint: "run `service mailcertd renew`, which asks for it, or set ca.passphrase_file"},
	{Reason: plan.NameUnqualified, Severity: plan.Warning, Text: "the host name \"krb5\" has no domain: peers cannot check it"},
	{Reason: plan.SendmailDown, Severity: plan.Notice, Text: "no sendmail runs: nothing to tell"},
}

// hostile is what somebody may put into a certificate: escapes, C1 controls,
// bidirectional marks, broken UTF-8.
const hostile = "O=\x1b]0;owned\x07\x1b[2J, CN=evil\u009b31m\u202egpj.exe\r\nok\xff\u200b"

// pages are all that people look at.
var pages = map[string]func(*page){
	"fresh": func(p *page) {
		statusPage(statusReport{Name: "mail.home.example", IssuerKind: "local", DH: "missing", CA: caReport{Dir: "/etc/mail/CA", Status: "absent"},
			Sendmail: sendmailInfo{CF: "/etc/mail/sendmail.cf", CFMissing: true, Status: "not running"},
			Problems: []plan.Problem{{Reason: plan.KeyMissing, Severity: plan.Error, Path: "/etc/mail/certs/host.key", Text: "is missing", Mended: true},
				{Reason: plan.CFMissing, Severity: plan.Notice, Path: "/etc/mail/sendmail.cf", Text: "there is no sendmail.cf: sendmail's defaults are assumed"}}}, p)
	},
	"fine":   func(p *page) { statusPage(authorityHost(1), p) },
	"ca-0":   func(p *page) { statusPage(authorityHost(0), p) },
	"ca-500": func(p *page) { statusPage(authorityHost(500), p) },
	"due-soon": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Certificate.NotAfter, r.Certificate.Renewal, r.Certificate.DaysLeft = days(12.5), daysPtr(-80), 12
			r.Problems = []plan.Problem{{Reason: plan.Expiring, Severity: plan.Warning, Path: "/etc/mail/certs/host.cert", Text: "ends on 2026-12-05, in less than 14 day(s)"}}
			r.Next, r.NextWhat = &today, "issue a certificate"
		}), p)
	},
	"expired": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Certificate.NotAfter, r.Certificate.Renewal, r.Certificate.DaysLeft = days(-3.2), daysPtr(-120), -4
			r.Problems = []plan.Problem{{Reason: plan.Expiring, Severity: plan.Error, Path: "/etc/mail/certs/host.cert", Text: "expired on 2026-11-19"}}
		}), p)
	},
	"not-yet-valid": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Certificate.NotBefore, r.Certificate.NotAfter = days(2), days(367)
			r.Certificate.Renewal = daysPtr(240)
		}), p)
	},
	"foreign": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.IssuerKind, r.CA, r.Issued = "none", caReport{Dir: "/etc/mail/CA", Status: "absent"}, nil
			r.Certificate.Owner, r.Certificate.Origin, r.Certificate.Carried, r.Certificate.Renewal = plan.Foreign, fromPerson, daysPtr(-90), nil
			r.Certificate.IssuerText = "C=US, O=Example Trust Services, CN=Example Server CA 3"
			r.Trusted = []trusted{{Text: "C=US, O=Example Trust Services, CN=Example Root", NotAfter: days(4000)}}
			r.Problems = []plan.Problem{{Reason: plan.ForeignKept, Severity: plan.Notice, Path: "/etc/mail/certs/host.cert",
				Text: "of another CA (CN=Example Server CA 3,O=Example Trust Services,C=US): kept as it is, not renewed by mailcertd", Hint: "`mailcertd install FILE` replaces it and keeps a copy"}}
		}), p)
	},
	"member": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.IssuerKind, r.CA, r.Issued = "ssh", caReport{Dir: "/etc/mail/CA", Status: "absent"}, nil
			r.Name, r.Certificate.Names, r.Certificate.Origin = "dhcp.home.example", []string{"dhcp.home.example"}, fromElsewhere
			r.Issuer = &otherCA{Target: "mailcertd@krb5.home.example", Trusted: 1, Asked: daysPtr(-0.2)}
			r.CRL = &crlReport{Path: "/etc/mail/certs/crl.pem", ThisUpdate: days(-10), NextUpdate: days(20), Installed: true, Read: true}
			r.Serves = []served{{Addr: "127.0.0.1:25", STARTTLS: true, Serial: "1A", OnDisk: true}, {Addr: "[::1]:25", Error: "dial tcp [::1]:25: connect: connection refused"}}
		}), p)
	},
	"generations": func(p *page) {
		statusPage(with(func(r *statusReport) {
			g := r.CA.Generations[0]
			next, old := g, g
			g.NotBefore, g.NotAfter = days(-2500), days(1150)
			next.Current, next.Next, next.NotBefore, next.NotAfter = false, true, days(-1), days(3649)
			old.Current, old.NotBefore, old.NotAfter, old.LastLeaf = false, days(-3600), days(50), daysPtr(20)
			r.CA.Generations = []caGeneration{g, next, old}
			r.CA.NextDue, r.CA.Deadline = daysPtr(-60), daysPtr(785)
			r.CRL = &crlReport{Path: "/etc/mail/CA/crl.pem", ThisUpdate: days(-29), NextUpdate: days(1), Renewal: daysPtr(-9), Behind: true}
		}), p)
	},
	"wide": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Certificate.IssuerText = "C=JP, ST=東京都, O=株式会社例示電子郵便証明書発行管理機構第一事業部, CN=例示認証局 e\u0301 第３世代"
			r.CA.Generations[0].Text, r.Trusted[0].Text, r.Trusted[0].SHA256 = r.Certificate.IssuerText, r.Certificate.IssuerText, ""
		}), p)
	},
	"long": func(p *page) {
		statusPage(with(func(r *statusReport) {
			long := strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example"
			r.Name, r.Certificate.Names, r.Issued.NextDue[0].Names = long, []string{long}, []string{long, "short.example"}
			r.Certificate.Serial = fill("0123456789ABCDEF", 40)
		}), p)
	},
	"altnames": func(p *page) {
		statusPage(with(func(r *statusReport) {
			for i := range 100 {
				r.Certificate.Names = append(r.Certificate.Names, fmt.Sprintf("alt%d.home.example", i))
			}
		}), p)
	},
	"hostile": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Certificate.IssuerText, r.CA.Generations[0].Text, r.Name = hostile, hostile, hostile
			r.Certificate.Names, r.Issued.NextDue[0].Names = []string{hostile, hostile}, []string{hostile}
			r.Deliveries[3].Detail, r.Sendmail.Status, r.NextWhat = hostile, hostile, hostile
			r.Problems = []plan.Problem{{Reason: plan.CFProblem, Severity: plan.Error, Path: hostile, Text: hostile, Hint: hostile}}
		}), p)
	},
	"owed": func(p *page) {
		statusPage(with(func(r *statusReport) {
			r.Sendmail.Owed, r.Sendmail.OwedSince, r.Sendmail.OwedError, r.Sendmail.Seen = true, daysPtr(-0.1), "127.0.0.1:25: it serves serial 11, on disk is 1A", ""
			r.Problems = manyProblems[1:2]
			r.Serves = []served{{Addr: "127.0.0.1:25", STARTTLS: true, Serial: "11"}, {Addr: "192.0.2.1:25"}}
		}), p)
	},
	"problems": func(p *page) {
		statusPage(with(func(r *statusReport) { r.Problems, r.Sendmail.NamesOurs = manyProblems, false }), p)
	},
	"check": func(p *page) {
		checkPage(checkReport{Problems: manyProblems, Actions: []plan.Action{{Kind: plan.Chmod, Reason: plan.ModeRefused, Text: "set the mode of /etc/mail/certs/host.key to 0600, because sendmail refuses it"}}}, p)
	},
	"check-fine": func(p *page) { checkPage(checkReport{}, p) },
	"check-hostile": func(p *page) {
		checkPage(checkReport{Problems: []plan.Problem{{Path: hostile, Text: hostile, Hint: hostile}}, Actions: []plan.Action{{Text: hostile}}}, p)
	},
	"show":        func(p *page) { caPage(shown(1, nil), false, p) },
	"show-absent": func(p *page) { caPage(caReport{Dir: "/etc/mail/CA", Status: "absent"}, false, p) },
	"show-locked": func(p *page) {
		caPage(caReport{Dir: "/etc/mail/CA", Status: "absent", Error: "open /etc/mail/CA/cakey.pem: permission denied"}, false, p)
	},
	"show-500": func(p *page) { caPage(shown(500, nil), true, p) },
	"show-rollover": func(p *page) {
		caPage(shown(70, func(r *caReport) {
			g := r.Generations[0]
			next, old := g, g
			g.Encrypted, g.NotBefore, g.NotAfter = true, days(-2500), days(1150)
			next.Current, next.Next, next.NotBefore, next.NotAfter = false, true, days(-1), days(3649)
			old.Current, old.NotBefore, old.NotAfter, old.LastLeaf = false, days(-3600), days(50), daysPtr(20)
			r.Generations = []caGeneration{g, next, old}
			r.NextDue, r.Deadline, r.CRLEnds = daysPtr(-60), daysPtr(785), daysPtr(20)
			for i, h := range r.Hosts {
				if i%2 == 0 {
					r.Waiting = append(r.Waiting, h.Name)
				} else {
					r.Silent = append(r.Silent, h.Name)
				}
			}
		}), true, p)
	},
	"show-hostile": func(p *page) {
		caPage(shown(1, func(r *caReport) {
			r.Status, r.Dir, r.Generations[0].Text, r.Generations[0].Key, r.Hosts[0].Name = "damaged", hostile, hostile, hostile, hostile
			r.Issuer, r.Faults = "CERTIssuer:"+hostile, []string{hostile, "/etc/mail/CA/serial: missing"}
		}), false, p)
	},
	"peer": func(p *page) { peerPage(peer(nil), p) },
	"peer-fail": func(p *page) {
		peerPage(peer(func(r *peerReport) {
			r.Verify, r.Reason, r.Named, r.NameError = mta.VerifyFail, "unable to get local issuer certificate", false, "x509: certificate is valid for mail.home.example, not 192.0.2.7"
			r.Presented, r.TrustUsed, r.Own.Trouble = false, false, "/etc/mail/certs/host.key: does not belong to the certificate"
			r.Own.Verify, r.Own.Reason, r.Refused = mta.VerifyFail, "certificate has expired", "remote error: tls: bad certificate"
		}), p)
	},
	"peer-plain": func(p *page) {
		peerPage(peerReport{Peer: "dhcp.home.example:25", Address: "192.0.2.7:25", Verify: mta.VerifyNone}, p)
	},
	"peer-away": func(p *page) {
		peerPage(peerReport{Peer: "dhcp.home.example:25", Error: "dial tcp 192.0.2.7:25: connect: connection refused"}, p)
	},
	"peer-hostile": func(p *page) {
		peerPage(peer(func(r *peerReport) {
			r.Peer, r.Reason, r.Cipher, r.NameError, r.Refused, r.Own.Reason = hostile, hostile, hostile, hostile, hostile, hostile
			r.Certificate.Subject, r.Certificate.Issuer, r.Named = hostile, hostile, false
		}), p)
	},
	"due": func(p *page) {
		long := strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example"
		duePage([]dueRow{
			{Severity: plan.Error, What: "sendmail", Name: "127.0.0.1:25", Text: "serves serial 11, on disk is 1A: it has not taken over the files for 3 days; `service sendmail restart` settles it"},
			{Severity: plan.Error, What: "host", Name: long, Ends: daysPtr(-3), Text: "expired"},
			{Severity: plan.Warning, What: "issued", Name: "dhcp.home.example", Ends: daysPtr(12.5), Text: "serial 1B, carried by hand: `mailcertd sign` or `mailcertd issue --replace` makes the next one"},
			{Severity: plan.Warning, What: "CA", Name: "例示認証局第３世代例示認証局第３世代例示認証局第３世代例示認証局", Ends: daysPtr(29), Text: hostile},
			{Severity: plan.Notice, What: "issued", Name: hostile, Ends: daysPtr(29), Text: "serial 1C"},
		}, p)
	},
	"list-0":   func(p *page) { listPage(issuedList(0, nil), p) },
	"list-1":   func(p *page) { listPage(issuedList(1, nil), p) },
	"list-500": func(p *page) { listPage(issuedList(500, nil), p) },
	"list-long": func(p *page) {
		listPage(issuedList(3, func(l *listed) {
			l.Serial, l.Status, l.Revoked, l.Reason = fill("0123456789ABCDEF", 40), "revoked", daysPtr(-3), "affiliationChanged"
			l.Names = []string{strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example", hostile}
		}), p)
	},
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

func draw(name string, width int, colour bool) string {
	p := &page{width: width, colour: colour, zone: tokyo, now: today}
	pages[name](p)
	var b strings.Builder
	_ = p.writeTo(&b)
	return b.String()
}

// accessKey is in one piece, to be copied.
var accessKey = regexp.MustCompile(`^(access map)? +CERT(Issuer|Subject):`)

// harmless fails for a line that is wider than it may be, and for anything in it
// that is not to be printed.
func harmless(t *testing.T, text string, width int) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if n := columns(line); n > width && !accessKey.MatchString(line) {
			t.Errorf("line %d has %d columns, more than %d: %q", i+1, n, width, line)
		}
		for _, r := range line {
			if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
				t.Errorf("line %d has %U: %q", i+1, r, line)
			}
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("line %d ends with a blank: %q", i+1, line)
		}
	}
}

// Every page looks as it is stored, at 80 columns without colour; is never wider
// than any screen that it gets; and colour changes nothing but the colour.
func TestPages(t *testing.T) {
	for name := range pages {
		t.Run(name, func(t *testing.T) {
			got := draw(name, 80, false)
			golden(t, name, got)
			for width := narrowest; width <= widest; width++ {
				plain := draw(name, width, false)
				harmless(t, plain, width)
				if coloured := sgr.ReplaceAllString(draw(name, width, true), ""); coloured != plain {
					t.Errorf("with colour, %d columns: %s", width, cmp.Diff(plain, coloured))
				}
			}
		})
	}
	golden(t, "problems-60", draw("problems", 60, false))
	golden(t, "list-500-60", draw("list-500", 60, false))
	golden(t, "expired-colour", draw("expired", 80, true))
	golden(t, "check-colour", draw("check", 100, true))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-stored +now; `go test ./cmd/mailcertd -run TestPages -update` stores it):\n%s", path, d)
	}
}

// No page is stored that nobody draws.
func TestGoldensAreDrawn(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.golden")
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".golden")
		extra := []string{"problems-60", "list-500-60", "expired-colour", "check-colour"}
		if pages[name] == nil && !strings.Contains(" "+strings.Join(extra, " ")+" ", " "+name+" ") {
			t.Errorf("%s belongs to no page", f)
		}
	}
}
