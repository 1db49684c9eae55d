package plan

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

// Each case changes one thing about a host that needs nothing, and has the rows that `status --due 30` then shows.
func TestDue(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	cert := func(from, to int) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"},
			NotBefore: day(from),
			NotAfter:  day(to)}
	}
	var never time.Time
	issued := func(serial, status, name string, ends int, renewal time.Time) IssuedRow {
		return IssuedRow{ca.Listed{Serial: serial, Status: status, Names: []string{name}, Expires: day(ends)}, renewal}
	}
	for _, c := range []struct {
		name   string
		change func(*DueFacts)
		want   []string // severity, kind and name of each row
	}{
		{"all is well", func(*DueFacts) {}, nil},
		{"what was issued could not be read",
			func(f *DueFacts) { f.Observed.CA.Dir.Path, f.Unread = "/ca", syscall.EIO },
			[]string{"error issued /ca"}},
		{"a person publishes TLSA records", func(f *DueFacts) {
			f.Config.DANE.Publish = config.PublishManual
			f.Plan.TLSA.Add = []dane.Line{{Name: "_25._tcp.a.example.", Record: dane.RecordOf("ab", time.Hour)}}
			f.Plan.TLSA.Remove = []dane.Line{{Name: "_25._tcp.a.example.", Record: dane.RecordOf("cd", time.Hour)}}
		}, []string{"warning DANE a.example", "warning DANE a.example"}},
		{"mailcertd publishes TLSA records", func(f *DueFacts) {
			f.Config.DANE.Publish = config.PublishUpdate
			f.Plan.TLSA.Add = []dane.Line{{Name: "_25._tcp.a.example.", Record: dane.RecordOf("ab", time.Hour)}}
		}, nil},
		{"TLSA records cannot be published", func(f *DueFacts) {
			f.Config.DANE.Publish, f.Plan.TLSA.Edits = config.PublishUpdate, []dane.Edit{{}}
			f.Plan.State.Failures = map[string]state.Failure{TLSAFailure: {First: day(-2), Error: "REFUSED"}}
		}, []string{"warning DANE a.example"}},
		{"TLSA records could not be published a moment ago", func(f *DueFacts) {
			f.Config.DANE.Publish, f.Plan.TLSA.Edits = config.PublishUpdate, []dane.Edit{{}}
			f.Plan.State.Failures = map[string]state.Failure{TLSAFailure: {First: day(0), Error: "REFUSED"}}
		}, nil},
		{"the DNS was not asked for two days", func(f *DueFacts) {
			f.Plan.TLSA.Governed = true
			f.Plan.TLSA.Memory.Names = []dane.Name{{Name: "_25._tcp.a.example.", Err: "away", Since: day(-2)},
				{Name: "_25._tcp.b.example.", Err: "away", Since: now.Add(-time.Hour)}, {Name: "_25._tcp.c.example."}}
		}, []string{"warning DANE a.example"}},
		{"the DNS was not asked for two days, and there are no records", func(f *DueFacts) {
			f.Plan.TLSA.Memory.Names = []dane.Name{{Name: "_25._tcp.a.example.", Err: "away", Since: day(-2)}}
		}, nil},
		{"a renewal would break a TLSA record, and mail", func(f *DueFacts) {
			f.Plan.TLSA.Notes = []dane.Note{{About: dane.AboutFragile, Grade: dane.Warning}}
		}, []string{"warning DANE a.example"}},
		{"a renewal would break a TLSA record, and no mail", func(f *DueFacts) {
			f.Plan.TLSA.Notes = []dane.Note{{About: dane.AboutFragile, Grade: dane.Notice}}
		}, nil},
		{"a change of a key waits for a day", func(f *DueFacts) {
			f.Plan.TLSA.Notes = []dane.Note{{About: dane.AboutChange, Grade: dane.Warning, Pair: "host"}}
		}, []string{"warning DANE a.example"}},
		{"TLSA records that mailcertd publishes are not signed", func(f *DueFacts) {
			f.Config.DANE.Publish = config.PublishUpdate
			f.Plan.TLSA.Notes = []dane.Note{{About: dane.AboutUnsigned, Grade: dane.Warning}}
		}, []string{"warning DANE a.example"}},
		{"TLSA records of others are not signed", func(f *DueFacts) {
			f.Config.DANE.Publish = config.PublishNone
			f.Plan.TLSA.Notes = []dane.Note{{About: dane.AboutUnsigned, Grade: dane.Warning}}
		}, nil},
		{"ends soon, to be renewed in time", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-3, 3)}
			f.Plan.Facts.Due = day(1)
		}, nil},
		{"renewal failed", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, 29)}
			f.Plan.Facts.Due = day(-90)
		}, []string{"warning host a.example"}},
		{"renewal failed, and much time is left", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, 31)}
			f.Plan.Facts.Due = day(-90)
		}, nil},
		{"ours and expired", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-300, -1)}
			f.Plan.Facts.Due = day(-90)
		}, []string{"error host a.example"}},
		{"foreign", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 30)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = Foreign, never
		}, []string{"warning host a.example"}},
		{"foreign, made today for six days", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(0, 6)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = Foreign, never
		}, nil},
		{"foreign, a day of six is left", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-5, 1)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = Foreign, never
		}, []string{"warning host a.example"}},
		{"foreign, 29 of 90 days are left", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-61, 29)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = Foreign, never
		}, nil},
		{"foreign, 22 of 90 days are left", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-68, 22)}
			f.Plan.Facts.Owner, f.Plan.Facts.Due = Foreign, never
		}, []string{"warning host a.example"}},
		{"the second pair is in time, the renewal of the client's has failed", func(f *DueFacts) {
			f.Observed.Certs.Second.Cert.File.Certs = []*x509.Certificate{cert(-300, 200)}
			f.Observed.Certs.Client.Cert.File.Certs = []*x509.Certificate{cert(-300, 20)}
			f.Plan.Facts.Pairs = []PairFacts{{Pair: certdir.Host}, {Pair: certdir.HostECDSA, Wanted: true, Owner: Ours},
				{Pair: certdir.Client, Named: true, Owner: Ours}}
		}, []string{"warning client a.example"}},
		{"the second pair is foreign", func(f *DueFacts) {
			f.Observed.Certs.Second.Cert.File.Certs = []*x509.Certificate{cert(-300, 20)}
			f.Plan.Facts.Pairs = []PairFacts{{Pair: certdir.HostECDSA, Wanted: true, Owner: Foreign}}
		}, []string{"warning host-ecdsa a.example"}},
		{"the second pair has expired", func(f *DueFacts) {
			f.Observed.Certs.Second.Cert.File.Certs = []*x509.Certificate{cert(-300, -2)}
			f.Plan.Facts.Pairs = []PairFacts{{Pair: certdir.HostECDSA, Named: true, Owner: Ours}}
		}, []string{"error host-ecdsa a.example"}},
		{"a pair that nobody uses has expired", func(f *DueFacts) {
			f.Observed.Certs.Second.Cert.File.Certs = []*x509.Certificate{cert(-300, -2)}
			f.Plan.Facts.Pairs = []PairFacts{{Pair: certdir.HostECDSA, Owner: Ours}}
		}, nil},
		{"a young CA that lives for thirty days", func(f *DueFacts) { f.Observed.CA.Current.Cert = cert(-1, 29) }, nil},
		{"issued: fresh for six days, and a day left of six", func(f *DueFacts) {
			f.Issued = []IssuedRow{issued("02", "valid", "b.example", 6, never),
				issued("03", "valid", "c.example", 1, never)}
			f.Issued[0].Begins, f.Issued[1].Begins = now, day(-5)
		}, []string{"warning issued c.example"}},
		{"issuer none, ours by its digest", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 29)}
			f.Plan.Facts.Due, f.Config.Issuer.Kind = day(1), config.IssuerNone
		}, []string{"warning host a.example"}},
		{"not offered", func(f *DueFacts) { f.Plan.Facts.Offered = false }, []string{"error host a.example"}},
		{"not offered, and sendmail.cf names other files",
			func(f *DueFacts) { f.Plan.Facts.Offered, f.Plan.Facts.NamesOurs = false, false }, nil},
		{"pickup under way", func(f *DueFacts) {
			f.Plan.State.Pickup = &state.Pickup{Since: now.Add(-time.Minute)}
		}, nil},
		{"pickup failed", func(f *DueFacts) {
			f.Plan.State.Pickup = &state.Pickup{Since: now.Add(-time.Minute), Attempts: 1}
		}, []string{"error sendmail pickup"}},
		{"pickup never tried", func(f *DueFacts) { f.Plan.State.Pickup = &state.Pickup{Since: now.Add(-time.Hour)} },
			[]string{"error sendmail pickup"}},
		{"notify failed", func(f *DueFacts) {
			f.Plan.State.Notify = map[string]*state.NotifyPending{"b": {Attempts: 1}, "a": {Attempts: 2}, "c": {}}
		}, []string{"error notify a", "error notify b"}},
		{"nobody listens, and none runs", func(f *DueFacts) {
			f.Served = []ServedAt{{Addr: "x", Error: "refused", Refused: true}}
		}, nil},
		{"nobody listens, and one runs", func(f *DueFacts) {
			f.Observed.MTA.Status = mta.OK
			f.Served = []ServedAt{{Addr: "x", Error: "refused", Refused: true}}
		}, []string{"error sendmail x"}},
		{"one of two addresses", func(f *DueFacts) {
			f.Observed.MTA.Status = mta.OK
			f.Served = []ServedAt{{Addr: "x", Error: "refused", Refused: true},
				{Addr: "y", STARTTLS: true, OnDisk: true}}
		}, nil},
		{"no STARTTLS, another certificate, no answer", func(f *DueFacts) {
			f.Served = []ServedAt{{Addr: "x"}, {Addr: "y", STARTTLS: true}, {Addr: "z", Error: "timeout"}}
		}, []string{"error sendmail x", "error sendmail y", "error sendmail z"}},
		{"CA without its next generation", func(f *DueFacts) { f.Observed.CA.Current.Cert = cert(-2900, 750) },
			[]string{"warning CA /etc/mail/CA"}},
		{"CA with it", func(f *DueFacts) {
			f.Observed.CA.Current.Cert, f.Observed.CA.Next.Cert = cert(-2900, 750), cert(0, 3650)
		}, nil},
		{"CA ends, next one not in force", func(f *DueFacts) {
			f.Observed.CA.Current.Cert, f.Observed.CA.Next.Cert = cert(-3640, 10), cert(0, 3650)
		}, []string{"warning CA /etc/mail/CA"}},
		{"CA ended", func(f *DueFacts) { f.Observed.CA.Current.Cert = cert(-3650, -1) },
			[]string{"error CA /etc/mail/CA"}},
		{"CA elsewhere ends", func(f *DueFacts) {
			f.Config.Issuer.Kind, f.Observed.Accepted = config.IssuerSSH, []*x509.Certificate{cert(-3640, 10)}
		}, []string{"warning CA "}},
		{"CRL fresh", func(f *DueFacts) { f.Observed.CA.CRL.Lists = crl(day(-5), day(25)) }, nil},
		{"CRL past its refresh", func(f *DueFacts) { f.Observed.CA.CRL.Lists = crl(day(-25), day(5)) },
			[]string{"warning CRL /etc/mail/CA"}},
		{"CRL over", func(f *DueFacts) { f.Observed.CA.CRL.Lists = crl(day(-31), day(-1)) },
			[]string{"error CRL /etc/mail/CA"}},
		{"issued: revoked, own, and far ahead", func(f *DueFacts) {
			f.Issued = []IssuedRow{
				issued("03", "revoked", "c.example", 10, never), issued("04", "valid", "a.example", 10, never),
				issued("05", "valid", "d.example", 31, never)}
		}, nil},
		{"issued: expired lately and long ago", func(f *DueFacts) {
			f.Issued = []IssuedRow{issued("02", "expired", "b.example", -29, never),
				issued("03", "expired", "c.example", -31, never)}
		}, []string{"error issued b.example"}},
		{"issued: enrolled, in time and late", func(f *DueFacts) {
			f.Issued = []IssuedRow{issued("02", "valid", "b.example", 2, day(1)),
				issued("03", "valid", "c.example", 2, day(-1))}
		}, []string{"warning issued c.example"}},
		{"an error that nothing repairs, and ones that do not count", func(f *DueFacts) {
			f.Plan.Problems = []Problem{{Reason: CAMissing, Severity: Error, Path: "/etc/mail/CA"},
				{Reason: CFMissing, Severity: Warning},
				{Reason: LinkMissing, Severity: Error, Repairable: true}, {Reason: NotifyPending, Severity: Error},
				{Reason: PickupPending, Severity: Error}}
		}, []string{"error ca-missing /etc/mail/CA"}},
		{"an error that a row tells", func(f *DueFacts) {
			f.Plan.Facts.Offered = false
			f.Plan.Problems = []Problem{{Reason: Refused, Severity: Error}}
		}, []string{"error host a.example"}},
		{"an error that a row could tell and does not", func(f *DueFacts) {
			f.Plan.Problems = []Problem{{Reason: CAEnded, Severity: Error, Path: "/etc/mail/CA"}}
		}, []string{"error ca-ended /etc/mail/CA"}},
		{"errors come first", func(f *DueFacts) {
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-90, 30)}
			f.Plan.Facts.Owner = Foreign
			f.Plan.State.Pickup = &state.Pickup{Attempts: 1}
		}, []string{"error sendmail pickup", "warning host a.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f DueFacts
			f.Config.Issuer.Kind = config.IssuerLocal
			f.Plan.Facts = Facts{Name: "a.example", Owner: Ours, Offered: true, NamesOurs: true, Due: day(200)}
			f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{cert(-30, 335)}
			f.Observed.CA.Dir.Path = "/etc/mail/CA"
			f.Observed.CA.Current.Cert = cert(-30, 3620)
			c.change(&f)
			var got []string
			for _, r := range NeedsPerson(f, 30, now) {
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

// A certificate whose host has a later one of another pair may be one that nobody uses any more, or one that nobody
// renewed. The row says what to do in both cases, and never names the command that would revoke the other pair.
func TestIssuedOfAnotherPair(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	row := func(renewal time.Time) IssuedRow {
		return IssuedRow{ca.Listed{Serial: "0A", Status: "valid", Names: []string{"b.example"},
			Expires: now.AddDate(0, 0, 10), OtherPair: true}, renewal}
	}
	rows := issuedDue(DueFacts{Issued: []IssuedRow{row(time.Time{}), row(now.AddDate(0, 0, -5))}}, 30*24*time.Hour, now)
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2: %v", len(rows), rows)
	}
	for _, r := range rows {
		if !strings.Contains(r.Text, "`mailcertd revoke 0A`") || strings.Contains(r.Text, "--replace") {
			t.Errorf("%s", r.Text)
		}
	}
}

// The zone of the texts is that of the time that the caller gives, not that of the process.
func TestDueDates(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.FixedZone("", 9*60*60))
	var f DueFacts
	f.Config.Issuer.Kind = config.IssuerLocal
	f.Plan.Facts = Facts{Owner: Ours, Offered: true, Due: time.Date(2026, 5, 20, 20, 0, 0, 0, time.UTC)}
	f.Observed.Certs.Cert.File.Certs = []*x509.Certificate{{NotBefore: now.AddDate(0, 0, -80),
		NotAfter: now.AddDate(0, 0, 10)}}
	rows := hostDue(f, 30*24*time.Hour, now)
	if len(rows) != 1 || !strings.Contains(rows[0].Text, "since 2026-05-21;") {
		t.Errorf("got %+v", rows)
	}
}
