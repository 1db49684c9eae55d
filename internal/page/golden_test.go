package page

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/dane"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/report"
	"mailcertd/internal/sender"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// This zone is not the test machine's, so that a page with the wrong zone fails.
var (
	tokyo = time.FixedZone("JST", 9*60*60)
	today = given.Now
)

func days(n float64) time.Time     { return today.Add(time.Duration(n * float64(report.Day))) }
func daysPtr(n float64) *time.Time { t := days(n); return &t }
func fill(s string, n int) string  { return strings.Repeat(s, n/len(s)+1)[:n] }

// pages are all pages. plan decides what they show, from observations that are possible. Only the pages with hostile
// text come from reports that are made by hand.
var pages = map[string]func(*Page){
	"fresh": drawn(Status, func() report.Status {
		return statusOf(0, given.EmptyDisk(), given.NoCF(), given.Sendmail(mta.NotRunning))
	}),
	"fine": drawn(Status, func() report.Status {
		return statusOf(1, given.IsFor(given.Name, "krb5.home.example"), given.AltNames("krb5.home.example"))
	}),
	"ca-0":   drawn(Status, func() report.Status { return statusOf(0) }),
	"ca-500": drawn(Status, func() report.Status { return statusOf(500) }),
	"pairs": drawn(Status, func() report.Status {
		return served(statusOf(1, given.WantsSecond(), given.Names(certdir.HostECDSA),
			given.Has(certdir.HostECDSA, "rsa-2048"),
			given.WantsClient(), given.Has(certdir.Client, "client"), given.ShowsNothing()),
			report.Served{Addr: "127.0.0.1:25", Pair: "host", STARTTLS: true, OnDisk: true},
			report.Served{Addr: "127.0.0.1:25", Pair: "host-ecdsa", STARTTLS: true, Serial: "19"})
	}),
	"due-soon": drawn(Status, func() report.Status {
		return statusOf(1, given.ExpiresIn(12*report.Day+12*time.Hour),
			given.Locked())
	}),
	"expired": drawn(Status, func() report.Status {
		return statusOf(1, given.ExpiresIn(-77*time.Hour), given.Failed(plan.ObtainFailure, 3, 5*time.Minute))
	}),
	"not-yet-valid": drawn(Status, func() report.Status { return statusOf(1, given.BeginsIn(2*report.Day)) }),
	"foreign": drawn(Status, func() report.Status {
		return statusOf(0, given.Bought(), given.NoIssuer(), given.NeverHadCA(), given.CarriedAgo(90*report.Day))
	}),
	"member": drawn(Status, func() report.Status {
		return served(statusOf(0, given.MemberOf("mailcertd@krb5.home.example"), given.InstallCRL(),
			given.CRL(10*report.Day, 20*report.Day), given.CRLInstalled()),
			report.Served{Addr: "127.0.0.1:25", STARTTLS: true, OnDisk: true},
			report.Served{Addr: "[::1]:25", Error: "connection refused"})
	}),
	"generations": drawn(Status, func() report.Status {
		return statusOf(1, rollover(append(members(3, true), given.CRL(29*report.Day, report.Day),
			given.CRLBehind())...)...)
	}),
	"wide": drawn(Status, func() report.Status {
		return statusOf(1, given.CACalled("株式会社例示電子郵便証明書発行管理機構第一事業部", "例示認証局 e\u0301 第３世代"))
	}),
	"acme": drawn(Status, func() report.Status { return statusOf(0, given.Public(), account()) }),
	"acme-third": drawn(Status, func() report.Status {
		return statusOf(0, given.Public(), given.NoWindow(), account())
	}),
	"acme-pairs": drawn(Status, func() report.Status {
		return statusOf(0, given.Public(), given.WantsSecond(), given.Names(certdir.HostECDSA),
			given.PublicPair(certdir.HostECDSA, "rsa-2048", -report.Day), account(),
			given.SaidNoTo(certdir.HostECDSA, issuer.KindAway, 5*time.Minute,
				"failed: the directory https://acme-v02.api.letsencrypt.org/directory: dial tcp 192.0.2.80:443: "+
					"connect: connection refused"))
	}),
	"dane": drawn(Status, func() report.Status {
		return statusOf(3, given.Publishes(dane.Update), given.RotateAfter(60*report.Day), given.Staged(),
			given.KeyChange(dane.Rotation, "staged", -1),
			given.InDNSOf([]dane.Record{given.TLSAOf("host"), given.TLSAOf("staged")},
				[]dane.Record{given.TLSAOf("host")}))
	}),
	"dane-update": drawn(Status, func() report.Status { // mailcertd adds the record by itself
		return statusOf(3, given.Publishes(dane.Update), given.InDNS(given.TLSAOf("host")), given.Staged(),
			given.KeyChange(dane.Asked, "staged", -1))
	}),
	"dane-manual": drawn(Status, func() report.Status {
		return statusOf(3, given.Publishes(dane.Manual), given.InDNS(given.TLSAOf("other"), given.TLSAOf("host")),
			given.Staged(), given.KeyChange(dane.Asked, "staged", -1), given.KeyBefore("other", 2*time.Hour))
	}),
	"acme-waiting": drawn(Status, func() report.Status { return statusOf(0, given.ACME(), given.Interim()) }),
	"acme-rate-limit": drawn(Status, func() report.Status {
		return statusOf(0, given.Public(), given.Window(-report.Day), account(),
			given.SaidNoTo(certdir.Host, issuer.KindRateLimit, 31*time.Hour, "failed: a new order: the CA says: too "+
				"many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s "+
				"(rateLimited)"))
	}),
	"acme-challenge": drawn(Status, func() report.Status {
		return statusOf(0, given.ACME(), given.Interim(), account(),
			given.SaidNoTo(certdir.Host, issuer.KindChallenge, 10*time.Minute, "failed: http-01 of "+given.Name+
				": the CA says: 192.0.2.1: Fetching http://"+given.Name+"/.well-known/acme-challenge/x: Timeout "+
				"during connect (likely firewall problem) (connection)"))
	}),
	"acme-tos": drawn(Status, func() report.Status {
		return statusOf(0, given.ACME(), given.Interim(), given.SaidNoTo(certdir.Host, issuer.KindTOS, time.Hour,
			"refused: the CA asks that you agree to its terms of service: read https://ca.example/terms, then set "+
				"agree_tos to true"))
	}),
	"acme-account": drawn(Status, func() report.Status {
		return statusOf(0, given.Public(), given.Window(-report.Day), account(),
			given.SaidNoTo(certdir.Host, issuer.KindAccount, time.Hour, "refused: the CA does not accept the account "+
				"any more: Account is not valid, has status \"deactivated\" (unauthorized); to create another "+
				"account, remove /var/db/mailcertd/acme/acme.example-12345678.key and "+
				"/var/db/mailcertd/acme/acme.example-12345678.account"))
	}),
	"acme-due": func(p *Page) {
		w := given.Host(given.Public(), given.WantsSecond(), given.Names(certdir.HostECDSA),
			given.PublicPair(certdir.HostECDSA, "rsa-2048", 10*report.Day), given.Window(-report.Day),
			given.SaidNoTo(certdir.Host, issuer.KindChallenge, time.Hour, "failed: http-01 of "+given.Name))
		Due(plan.NeedsPerson(plan.DueFacts{Config: w.Config, Observed: w.Seen, Plan: w.Plan()}, 60, w.Now), p)
	},
	"long": func(p *Page) {
		long := strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example"
		r := statusOf(1, given.HostName(long), given.IsFor(long))
		r.Issued.NextDue[0].Names = []string{long, "short.example"}
		Status(r, p)
	},
	"altnames": func(p *Page) {
		names := []string{given.Name}
		for i := range 100 {
			names = append(names, fmt.Sprintf("alt%d.home.example", i))
		}
		Status(statusOf(1, given.IsFor(names...), given.AltNames(names[1:]...)), p)
	},
	"hostile": func(p *Page) {
		r := statusOf(1)
		r.Certificate.IssuerText, r.CA.Generations[0].Text, r.Name = hostile, hostile, hostile
		r.Certificate.Names, r.Issued.NextDue[0].Names = []string{hostile, hostile}, []string{hostile}
		r.Pickups[0].Detail, r.Sendmail.Status, r.NextWhat = hostile, hostile, hostile
		r.Problems = []plan.Problem{{Reason: plan.CFProblem, Severity: plan.Error, Path: hostile, Text: hostile,
			Hint: hostile}}
		Status(r, p)
	},
	"pickup-pending": drawn(Status, func() report.Status {
		return served(statusOf(1, given.PickupPending(toldInVain)),
			report.Served{Addr: "127.0.0.1:25", STARTTLS: true, Serial: "11"},
			report.Served{Addr: "192.0.2.1:25"})
	}),
	"problems": drawn(Status, func() report.Status { return statusOf(1, inTrouble()...) }),
	"check":    drawn(Check, func() report.Check { return checkOf(inTrouble()...) }),
	"check-acme": drawn(Check, func() report.Check {
		return checkOf(given.ACME(), given.Interim(), given.Outlook(plan.Outlook{Proofs: []plan.Prospect{
			{Err: issuer.Refusal{Kind: issuer.KindChallenge, Reason: "http-01 cannot listen on :80: bind: address " +
				"already in use; nginx (process 1234) listens there; stop it, or set http: {webroot: DIR} to the " +
				"directory that it serves"}},
			{Name: given.Name, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Elsewhere: true}}}))
	}),
	"check-fine": drawn(Check, func() report.Check { return checkOf() }),
	"check-hostile": drawn(Check, func() report.Check {
		return report.Check{Problems: []plan.Problem{{Path: hostile, Text: hostile, Hint: hostile}},
			Actions: []plan.Action{{Text: plan.ToInstall.With(hostile)}}}
	}),
	"show":        drawn(private, func() report.CA { return showOf(members(1, false)...) }),
	"show-absent": drawn(private, func() report.CA { return showOf(given.NoCA()) }),
	"show-locked": drawn(private, func() report.CA { return showOf(given.CAUnreadable()) }),
	"show-500":    drawn(public, func() report.CA { return showOf(members(500, false)...) }),
	"show-rollover": drawn(public, func() report.CA {
		return showOf(rollover(append(members(70, true),
			given.Locked())...)...)
	}),
	"show-hostile": func(p *Page) {
		r := showOf(append(members(1, false), given.CADamaged(), given.CAFault(ca.FaultSerial, true))...)
		r.Dir, r.Generations[0].Text, r.Generations[0].Key, r.Hosts[0].Name = hostile, hostile, hostile, hostile
		r.Issuer, r.Faults[0] = "CERTIssuer:"+hostile, hostile
		CA(r, false, p)
	},
	"peer": func(p *Page) { Peer(peer(nil), p) },
	"peer-fail": func(p *Page) {
		Peer(peer(func(r *report.Peer) {
			r.Verify, r.Reason, r.Named, r.NameError = mta.VerifyFail, "unable to get local issuer certificate", false,
				"the certificate is for mail.home.example, not for dhcp.home.example"
			r.Presented, r.TrustUsed, r.Own.Trouble = false, false,
				"/etc/mail/certs/host.key: does not belong to the certificate"
			r.Own.Verify, r.Own.Reason, r.Refused = mta.VerifyFail, "certificate has expired",
				"bad certificate"
			r.OwnServer[0].Verify, r.OwnServer[0].Reason = r.Own.Verify, r.Own.Reason
		}), p)
	},
	"peer-public": func(p *Page) { // both hosts have public certificates, and private ones as clients
		Peer(peer(func(r *report.Peer) {
			r.Certificate.Subject, r.Certificate.Issuer = "", "/C=US/O=Let's Encrypt/CN=R12"
			r.OwnServer = []report.OwnServer{
				{Serial: "5B3A77", Issuer: "/C=US/O=Let's Encrypt/CN=R13", Verify: mta.VerifyOK},
				{Serial: "5B3A78", Issuer: "/C=US/O=Let's Encrypt/CN=E7", Verify: mta.VerifyFail,
					Reason: "unable to get issuer certificate"}}
		}), p)
	},
	"peer-plain": func(p *Page) {
		Peer(report.Peer{Peer: "dhcp.home.example:25", Address: "192.0.2.7:25", Verify: mta.VerifyNone}, p)
	},
	"peer-away": func(p *Page) {
		Peer(report.Peer{Peer: "dhcp.home.example:25", Error: "192.0.2.7:25: connection refused"}, p)
	},
	"peer-hostile": func(p *Page) {
		Peer(peer(func(r *report.Peer) {
			r.Peer, r.Reason, r.Cipher, r.NameError, r.Refused, r.Own.Reason = hostile, hostile, hostile,
				hostile, hostile,
				hostile
			r.Certificate.Subject, r.Certificate.Issuer, r.Named = hostile, hostile, false
			r.OwnServer[0].Issuer, r.OwnServer[0].Reason = hostile, hostile
		}), p)
	},
	"due": func(p *Page) {
		w := given.Host(given.Bought(), given.ExpiresIn(-3*report.Day), given.CALives(-3640*report.Day, 10*report.Day),
			given.CACalled("例示", "例示認証局第３世代例示認証局第３世代例示認証局第３世代例示認証局"), given.Locked(), given.Notify("another"),
			given.NotifyPending(2))
		long := strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example"
		f := plan.DueFacts{Config: w.Config, Observed: w.Seen, Plan: w.Plan(),
			Served: []plan.ServedAt{{Addr: "127.0.0.1:25", STARTTLS: true, Serial: "11"},
				{Addr: "[::1]:25", Error: hostile}}}
		for i, name := range []string{"dhcp.home.example", long, hostile} {
			f.Issued = append(f.Issued,
				plan.IssuedRow{Listed: ca.Listed{Serial: fmt.Sprintf("1%X", i+11), Status: "valid",
					Names: []string{name}, Begins: days(-300), Expires: days(float64(i)*8 + 4.5)}})
		}
		Due(plan.NeedsPerson(f, 30, w.Now), p)
	},
	"domain": func(p *Page) { Domain(domainPage(nil), p) },
	"domain-trouble": func(p *Page) {
		Domain(domainPage(func(d *sender.Domain) {
			d.Resolver = sender.Resolver{Addr: "192.0.2.53:53"}
			h := &d.Hosts[0]
			h.Aliases, h.Addresses = []string{"real.home.example"}, []sender.Address{{IP: "192.0.2.1"}}
			h.Bases[0].Records = append(h.Bases[0].Records, dane.Record{Usage: 1, Selector: 1, Matching: 1,
				Data: fill("ab", 64), TTL: 300})
			d.Hosts = append(d.Hosts, sender.Host{Name: "old.home.example", Preference: 20,
				Addrs: sender.Lookup{Signed: dane.SignedBogus, Err: "DNS: the signatures (DNSSEC) are wrong or " +
					"have expired"}})
			d.STS.Body = "version: STSv1\nmode: testing\nmx: mail.home.example\nmax_age: 86400\n"
			d.RPT.Texts = []string{"v=TLSRPTv1; rua=ftp://home.example"}
		}), p)
	},
	"domain-none": func(p *Page) {
		Domain(domainPage(func(d *sender.Domain) {
			d.MX.Signed, d.Hosts[0].Addrs.Signed, d.Hosts[0].Bases, d.Implicit = dane.SignedNo, dane.SignedNo, nil, true
			d.STS.Texts, d.RPT.Texts = nil, nil
		}), p)
	},
	"domain-bogus": func(p *Page) {
		Domain(domainPage(func(d *sender.Domain) {
			d.MX, d.Hosts = sender.Lookup{Signed: dane.SignedBogus, Err: "DNS: 127.0.0.1:53: the signatures " +
				"(DNSSEC) are " +
				"wrong or have expired"}, nil
		}), p)
	},
	"domain-null": func(p *Page) {
		Domain(domainPage(func(d *sender.Domain) { d.Null, d.Hosts = true, nil }), p)
	},
	"domain-hostile": func(p *Page) {
		r := domainPage(nil)
		r.Domain, r.Text, r.Resolver.Address = hostile, hostile, hostile
		h := &r.Hosts[0]
		h.Name, h.Aliases, h.TLSA[0].Unused, h.Base = hostile, []string{hostile}, hostile, hostile
		a := &h.Addresses[0]
		a.Text, a.TLS, a.Cipher, a.Chain[0].Subject, a.Chain[0].Issuer = hostile, hostile, hostile, hostile, hostile
		a.Chain[0].Names = []string{hostile, hostile}
		r.STS.ID, r.STS.MX, r.TLSRPT.To = hostile, []string{hostile}, []string{hostile}
		r.Problems = []report.DomainProblem{{Reason: sender.Mismatch, Severity: plan.Error, Host: hostile,
			Text: hostile,
			Hint: hostile}}
		Domain(r, p)
	},
	"list-0": func(p *Page) { List(issuedList(0, nil), p) },
	"list-1": func(p *Page) { List(issuedList(1, nil), p) },
	"list-pairs": func(p *Page) {
		l := issuedList(3, nil)
		l.Certificates[0].Pair, l.Certificates[1].Pair = "host", "client"
		List(l, p)
	},
	"list-500": func(p *Page) { List(issuedList(500, nil), p) },
	"list-long": func(p *Page) {
		List(issuedList(3, func(l *report.Listed) {
			l.Serial, l.Status, l.Revoked, l.Reason = fill("0123456789ABCDEF", 40), "revoked", daysPtr(-3),
				"affiliationChanged"
			l.Names = []string{strings.TrimSuffix(fill("a23456789.", 240), ".") + ".home.example", hostile}
		}), p)
	},
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

func draw(name string, width int, colour bool) string {
	p := &Page{Width: width, Colour: colour, Zone: tokyo, Now: today}
	pages[name](p)
	var b strings.Builder
	_ = p.Print(&b)
	return b.String()
}

// accessKey must stay on one line, so that a person can copy it.
var accessKey = regexp.MustCompile(`^(access map)? +CERT(Issuer|Subject):`)

// harmless fails for a line that is too wide, and for unprintable characters.
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

// Every page equals its golden file, at 80 columns without colour. It is never wider than its screen, and colour
// changes only the colour.
func TestPages(t *testing.T) {
	for name := range pages {
		t.Run(name, func(t *testing.T) {
			got := draw(name, 80, false)
			golden(t, name, got)
			for width := Narrowest; width <= Widest; width++ {
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
		t.Errorf("%s (-stored +now; `go test ./internal/page -run TestPages -update` stores it):\n%s", path, d)
	}
}

// Every golden file belongs to a page.
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
