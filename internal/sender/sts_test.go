package sender

import (
	"strings"
	"testing"

	"mailcertd/internal/dane"
)

const goodPolicy = "version: STSv1\r\nmode: enforce\r\nmx: MX.Example.org.\r\nmx: *.example.net\r\nmax_age: 86400\r\n"

// What a sender reads in the MTA-STS record and policy. Each row changes one thing; fault is a part of what is wrong,
// "" for nothing.
func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*STS)
		fault  string
	}{
		{"good", func(*STS) {}, ""},
		{"lines that end with LF", func(s *STS) { s.Body = strings.ReplaceAll(s.Body, "\r", "") }, ""},
		{"a field that is not known", func(s *STS) { s.Body += "note: hello\r\n" }, ""},
		{"other TXT records", func(s *STS) { s.Texts = append(s.Texts, "v=spf1 -all", "v=STSv1x; id=2") }, ""},
		{"the media type with a character set", func(s *STS) { s.Type = "text/plain; charset=utf-8" }, ""},
		{"mode none without mx", func(s *STS) { s.Body = "version: STSv1\nmode: none\nmax_age: 0\n" }, ""},
		{"the first mode counts", func(s *STS) { s.Body += "mode: always\r\n" }, ""},
		{"two records", func(s *STS) { s.Texts = append(s.Texts, "v=STSv1; id=2;") }, "2 TXT records"},
		{"no id", func(s *STS) { s.Texts = []string{"v=STSv1;"} }, `the id of the TXT record is ""`},
		{"an id with a dash", func(s *STS) { s.Texts = []string{"v=STSv1; id=2026-07-01"} }, "2026-07-01"},
		{"no answer of the DNS", func(s *STS) { s.TXT.Err = "SERVFAIL" }, "SERVFAIL"},
		{"no answer of the web server", func(s *STS) { s.Err = "connection refused" }, "connection refused"},
		{"404", func(s *STS) { s.Status = "404 Not Found" }, "404 Not Found"},
		{"a page", func(s *STS) { s.Type = "text/html" }, "text/html"},
		{"another version", func(s *STS) { s.Body = strings.Replace(s.Body, "STSv1", "STSv2", 1) },
			`version of the policy is "STSv2"`},
		{"no mx", func(s *STS) { s.Body = "version: STSv1\nmode: testing\nmax_age: 1\n" }, "no line mx: HOST"},
		{"no max_age", func(s *STS) { s.Body = "version: STSv1\nmode: testing\nmx: a.b\n" }, "max_age"},
		{"a max_age of two years", func(s *STS) { s.Body = strings.Replace(s.Body, "86400", "63115200", 1) },
			"max_age"},
		{"a line without a colon", func(s *STS) { s.Body += "hello\r\n" }, `the line "hello`},
		{"HTML in place of a policy", func(s *STS) { s.Body = "<html>" }, "the line"},
	} {
		s := STS{TXT: yes, Texts: []string{"v=STSv1; id=20260701T01;"}, Asked: true, Status: "200 OK",
			Type: "text/plain",
			Body: goodPolicy}
		c.change(&s)
		p := s.read()
		got := strings.Join(p.Faults, "; ")
		if !p.Present || (got == "") != (c.fault == "") || !strings.Contains(got, c.fault) {
			t.Errorf("%s: %v %q, want %q", c.name, p.Present, got, c.fault)
		}
	}
	if p := (STS{TXT: yes, Texts: []string{"v=spf1 -all"}}).read(); p.Present || len(p.Faults) > 0 {
		t.Errorf("no record: %+v", p)
	}
}

// A policy is compared with the mail hosts: their names, STARTTLS and certificates.
func TestPolicyAndHosts(t *testing.T) {
	for _, c := range []struct {
		name, host, mode string
		a                Address
		reason           Reason
		grade            dane.Grade
	}{
		{"fits", "mx.example.org", "enforce", Address{Offered: true}, "", 0},
		{"fits the wildcard", "a.example.net", "enforce", Address{Offered: true}, "", 0},
		{"a wildcard stands for one label", "a.b.example.net", "enforce", Address{Offered: true}, STSMX, dane.Error},
		{"another host", "mx.example.com", "testing", Address{Offered: true}, STSMX, dane.Warning},
		{"mode none", "mx.example.com", "none", Address{}, "", 0},
		{"no STARTTLS", "mx.example.org", "enforce", Address{}, STSCert, dane.Error},
		{"TLS fails", "mx.example.org", "enforce", Address{Offered: true, TLSErr: "x"}, STSCert, dane.Error},
		{"a private CA", "mx.example.org", "enforce", Address{Offered: true, Public: "x"}, STSCert, dane.Error},
		{"away", "mx.example.org", "enforce", Address{Err: "connection refused"}, "", 0},
	} {
		d := Domain{Hosts: []Host{{Name: c.host, Addresses: []Address{c.a}}}, STS: STS{TXT: yes,
			Texts: []string{"v=STSv1; id=1;"}, Status: "200 OK", Type: "text/plain",
			Body: strings.Replace(goodPolicy, "enforce", c.mode, 1)}}
		found := d.compare(d.STS.read())
		if c.reason == "" && len(found) == 0 {
			continue
		}
		if len(found) != 1 || found[0].Reason != c.reason || found[0].Grade != c.grade {
			t.Errorf("%s: %+v, want %s", c.name, found, c.reason)
		}
	}
}

// What a sender reads in the TLSRPT record.
func TestTLSRPT(t *testing.T) {
	for _, c := range []struct {
		texts []string
		to    string
		fault string
	}{
		{nil, "", ""},
		{[]string{"v=spf1 -all"}, "", ""},
		{[]string{"v=TLSRPTv1; rua=mailto:a@example.org,https://example.org/tls"},
			"mailto:a@example.org https://example.org/tls", ""},
		{[]string{"v=TLSRPTv1;rua=mailto:a@example.org"}, "mailto:a@example.org", ""},
		{[]string{"v=TLSRPTv1; rua=ftp://example.org"}, "", "ftp://example.org"},
		{[]string{"v=TLSRPTv1;"}, "", "no rua"},
		{[]string{"v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:c@d"}, "", "2 TXT records"},
	} {
		got := RPT{TXT: yes, Texts: c.texts}.read()
		faults := strings.Join(got.Faults, "; ")
		if strings.Join(got.To, " ") != c.to || (faults == "") != (c.fault == "") || !strings.Contains(faults,
			c.fault) {
			t.Errorf("%q: %q, %q", c.texts, got.To, faults)
		}
	}
}
