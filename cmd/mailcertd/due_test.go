package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Each case changes a host on which all is well, and says which rows that makes
// when somebody looks thirty days ahead.
func TestDue(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	cert := func(from, to int) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: day(from), NotAfter: day(to)}
	}
	var never time.Time
	issued := func(serial, status, name string, ends int, renewal time.Time) issuedFact {
		return issuedFact{ca.Listed{Serial: serial, Status: status, Names: []string{name}, Expires: day(ends)}, never, renewal}
	}
	for _, c := range []struct {
		name   string
		change func(*dueFacts)
		want   []string // severity, what and name
	}{
		{"all is well", func(*dueFacts) {}, nil},
		{"ends soon, to be renewed in time", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-3, 3)}
			f.Plan.Facts.Due = day(1)
		}, nil},
		{"renewal failed", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, 29)}
			f.Plan.Facts.Due = day(-90)
		}, []string{"warning host a.example"}},
		{"renewal failed, and much time is left", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, 31)}
			f.Plan.Facts.Due = day(-90)
		}, nil},
		{"ours and expired", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, -1)}
			f.Plan.Facts.Due = day(-90)
		}, []string{"error host a.example"}},
		{"foreign", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 30)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = plan.Foreign, never
		}, []string{"warning host a.example"}},
		{"foreign, made today for six days", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(0, 6)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = plan.Foreign, never
		}, nil},
		{"foreign, a day of six is left", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-5, 1)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = plan.Foreign, never
		}, []string{"warning host a.example"}},
		{"foreign, 29 of 90 days are left", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-61, 29)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = plan.Foreign, never
		}, nil},
		{"foreign, 22 of 90 days are left", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-68, 22)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = plan.Foreign, never
		}, []string{"warning host a.example"}},
		{"a young CA that lives for thirty days", func(f *dueFacts) { f.Observed.CA.Current.Cert = cert(-1, 29) }, nil},
		{"issued: fresh for six days, and a day left of six", func(f *dueFacts) {
			f.issued = []issuedFact{issued("02", "valid", "b.example", 6, never), issued("03", "valid", "c.example", 1, never)}
			f.issued[0].begins, f.issued[1].begins = now, day(-5)
		}, []string{"warning issued c.example"}},
		{"issuer none, ours by its digest", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 29)}
			f.Plan.Facts.Due, f.Issuer.Kind = day(1), config.IssuerNone
		}, []string{"warning host a.example"}},
		{"not offered", func(f *dueFacts) { f.Plan.Facts.Offered = false }, []string{"error host a.example"}},
		{"not offered, and sendmail.cf names other files", func(f *dueFacts) { f.Plan.Facts.Offered, f.Plan.Facts.NamesOurs = false, false }, nil},
		{"pickup under way", func(f *dueFacts) { f.Plan.State.Debt = &state.Debt{Since: now.Add(-time.Minute)} }, nil},
		{"pickup failed", func(f *dueFacts) {
			f.Plan.State.Debt = &state.Debt{Since: now.Add(-time.Minute), Attempts: 1}
		}, []string{"error sendmail pickup"}},
		{"pickup never tried", func(f *dueFacts) { f.Plan.State.Debt = &state.Debt{Since: now.Add(-time.Hour)} }, []string{"error sendmail pickup"}},
		{"notify failed", func(f *dueFacts) {
			f.Plan.State.Notify = map[string]*state.NotifyDebt{"b": {Attempts: 1}, "a": {Attempts: 2}, "c": {}}
		}, []string{"error notify a", "error notify b"}},
		{"nobody listens, and none runs", func(f *dueFacts) {
			f.served = []servedFact{{served{Addr: "x", Error: "refused"}, true}}
		}, nil},
		{"nobody listens, and one runs", func(f *dueFacts) {
			f.Observed.MTA.Status = mta.OK
			f.served = []servedFact{{served{Addr: "x", Error: "refused"}, true}}
		}, []string{"error sendmail x"}},
		{"one of two addresses", func(f *dueFacts) {
			f.Observed.MTA.Status = mta.OK
			f.served = []servedFact{{served{Addr: "x", Error: "refused"}, true}, {served{Addr: "y", STARTTLS: true, OnDisk: true}, false}}
		}, nil},
		{"no STARTTLS, another certificate, no answer", func(f *dueFacts) {
			f.served = []servedFact{{served{Addr: "x"}, false}, {served{Addr: "y", STARTTLS: true}, false}, {served{Addr: "z", Error: "timeout"}, false}}
		}, []string{"error sendmail x", "error sendmail y", "error sendmail z"}},
		{"CA without its next generation", func(f *dueFacts) { f.Observed.CA.Current.Cert = cert(-2900, 750) }, []string{"warning CA /etc/mail/CA"}},
		{"CA with it", func(f *dueFacts) {
			f.Observed.CA.Current.Cert, f.Observed.CA.Next.Cert = cert(-2900, 750), cert(0, 3650)
		}, nil},
		{"CA ends, next one not in force", func(f *dueFacts) {
			f.Observed.CA.Current.Cert, f.Observed.CA.Next.Cert = cert(-3640, 10), cert(0, 3650)
		}, []string{"warning CA /etc/mail/CA"}},
		{"CA ended", func(f *dueFacts) { f.Observed.CA.Current.Cert = cert(-3650, -1) }, []string{"error CA /etc/mail/CA"}},
		{"CA elsewhere ends", func(f *dueFacts) {
			f.Issuer.Kind, f.Observed.Accepted = config.IssuerSSH, []*x509.Certificate{cert(-3640, 10)}
		}, []string{"warning CA "}},
		{"CRL fresh", func(f *dueFacts) { f.Observed.CA.CRL.Lists = crl(day(-5), day(25)) }, nil},
		{"CRL past its refresh", func(f *dueFacts) { f.Observed.CA.CRL.Lists = crl(day(-25), day(5)) }, []string{"warning CRL /etc/mail/CA"}},
		{"CRL over", func(f *dueFacts) { f.Observed.CA.CRL.Lists = crl(day(-31), day(-1)) }, []string{"error CRL /etc/mail/CA"}},
		{"issued: replaced, revoked, own, and far ahead", func(f *dueFacts) {
			f.issued = []issuedFact{issued("02", "valid", "b.example", 10, never), issued("0A", "valid", "B.example", 200, never),
				issued("03", "revoked", "c.example", 10, never), issued("04", "valid", "a.example", 10, never), issued("05", "valid", "d.example", 31, never)}
		}, nil},
		{"issued: its replacement was revoked", func(f *dueFacts) {
			f.issued = []issuedFact{issued("02", "valid", "b.example", 10, never), issued("0A", "revoked", "b.example", 200, never)}
		}, []string{"warning issued b.example"}},
		{"issued: expired lately and long ago", func(f *dueFacts) {
			f.issued = []issuedFact{issued("02", "expired", "b.example", -29, never), issued("03", "expired", "c.example", -31, never)}
		}, []string{"error issued b.example"}},
		{"issued: enrolled, in time and late", func(f *dueFacts) {
			f.issued = []issuedFact{issued("02", "valid", "b.example", 2, day(1)), issued("03", "valid", "c.example", 2, day(-1))}
		}, []string{"warning issued c.example"}},
		{"an error that nothing mends, and ones that do not count", func(f *dueFacts) {
			f.Plan.Problems = []plan.Problem{{Reason: plan.CAMissing, Severity: plan.Error, Path: "/etc/mail/CA"}, {Reason: plan.CFMissing, Severity: plan.Warning},
				{Reason: plan.LinkMissing, Severity: plan.Error, Mended: true}, {Reason: plan.NotifyOwed, Severity: plan.Error}, {Reason: plan.SendmailOwed, Severity: plan.Error}}
		}, []string{"error ca-missing /etc/mail/CA"}},
		{"an error that a row tells", func(f *dueFacts) {
			f.Plan.Facts.Offered = false
			f.Plan.Problems = []plan.Problem{{Reason: plan.Refused, Severity: plan.Error}}
		}, []string{"error host a.example"}},
		{"an error that a row could tell and does not", func(f *dueFacts) {
			f.Plan.Problems = []plan.Problem{{Reason: plan.CAEnded, Severity: plan.Error, Path: "/etc/mail/CA"}}
		}, []string{"error ca-ended /etc/mail/CA"}},
		{"errors come first", func(f *dueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 30)}
			f.Plan.Facts.Owner = plan.Foreign
			f.Plan.State.Debt = &state.Debt{Attempts: 1}
		}, []string{"error sendmail pickup", "warning host a.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f dueFacts
			f.Issuer.Kind = config.IssuerLocal
			f.Plan.Facts = plan.Facts{Name: "a.example", Owner: plan.Ours, Offered: true, NamesOurs: true, Due: day(200)}
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-30, 335)}
			f.Observed.CA.Dir.Path = "/etc/mail/CA"
			f.Observed.CA.Current.Cert = cert(-30, 3620)
			c.change(&f)
			var got []string
			for _, r := range due(f, 30, now) {
				got = append(got, fmt.Sprintf("%s %s %s", r.Severity, r.What, r.Name))
			}
			for i := range got {
				if i < len(c.want) && c.want[i] == "warning CA " {
					got[i] = strings.TrimSuffix(got[i], "/CN=CA")
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func crl(from, to time.Time) []ca.RevocationList {
	return []ca.RevocationList{{List: &x509.RevocationList{ThisUpdate: from, NextUpdate: to}}}
}
