package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// orphan puts a certificate of the CA into newcerts without adding a row.
func orphan(t testing.TB, o Options, serial int64, subject []byte, until time.Time) *x509.Certificate {
	t.Helper()
	key, err := readKey(filepath.Join(o.Dir, keyName), nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := newKey(t)
	c, err := create(&x509.Certificate{SerialNumber: big.NewInt(serial), RawSubject: subject,
		NotBefore: until.AddDate(-1, 0, 0), NotAfter: until, DNSNames: []string{"x.example.org"}},
		Observe(o.Dir, Filter{}).Current.Cert, leaf.Public(), key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, NewCertsDir, FormatSerial(c.SerialNumber)+".pem"),
		pki.EncodeCertificate(c.Raw), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

func rows(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

// oddNames are subjects that are legal and unusual.
func oddNames(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	name := func(label string, attrs ...pki.Attribute) {
		raw, err := pki.RawName(append(attrs, pki.Attribute{Type: "CN", Value: "x.example.org"})...)
		if err != nil {
			t.Fatal(err)
		}
		out[label] = raw
	}
	for _, org := range []string{"Müller & Söhne", "日本語 株式会社", "a/b", "a/CN=b", "a+b", "a=b", "a, b; c",
		"blanks at the end  ", "  and before", `"quoted"`, `back\slash`, `back\`, "~tilde", "#hash", "<>"} {
		name(org, pki.Attribute{Type: "C", Value: "JP"}, pki.Attribute{Type: "O", Value: org})
	}
	name("tab", pki.Attribute{Type: "O", Value: "a\tb"})
	name("line feed", pki.Attribute{Type: "O", Value: "a\nV\tb"})
	name("mail address", pki.Attribute{Type: "emailAddress", Value: "root@example.org"})
	two, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "O and"},
			{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "x.example.org"}}})
	if err != nil {
		t.Fatal(err)
	}
	out["two in one"] = two
	out["empty"] = []byte{0x30, 0}
	return out
}

// The row that mailcertd writes for a certificate is the one that openssl writes, and openssl finds the certificate by
// it.
func TestRowsAgainstOpenssl(t *testing.T) {
	o, d := made(t)
	ours := []string{}
	names, dates := oddNames(t), []time.Time{time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 2, 28, 1, 2, 3, 0, time.UTC)}
	serial := int64(1)
	for _, label := range sortedKeys(names) {
		orphan(t, o, serial, names[label], dates[int(serial)%len(dates)])
		ours = append(ours, label)
		serial++
	}
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	if f := Observe(o.Dir, Filter{}).Faults; len(f) > 0 {
		t.Fatal(f)
	}
	got := rows(t, o.Dir)
	if len(got) != len(ours) {
		t.Fatalf("%d rows for %d certificates", len(got), len(ours))
	}
	// In a second directory openssl does not know the certificates, so that revoking adds the row.
	twin := t.TempDir()
	if err := os.CopyFS(twin, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(twin, indexName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i, label := range ours {
		hex := fmt.Sprintf("%02X", i+1)
		mustOpenssl(t, twin, "ca", "-config", "openssl.cnf", "-revoke", "newcerts/"+hex+".pem")
		theirs := rows(t, twin)
		want := strings.Split(strings.TrimSuffix(theirs[i], "\n"), "\t")
		have := strings.Split(strings.TrimSuffix(got[i], "\n"), "\t")
		if len(want) != 6 || len(have) != 6 || want[1] != have[1] || !slices.Equal(want[3:], have[3:]) {
			t.Errorf("%s: %q, openssl has %q", label, have, want)
		}
		if out, _ := openssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-status", hex); !strings.Contains(out,
			hex+"=Valid (V)") {
			t.Errorf("%s: %s", label, out)
		}
	}
	// openssl reads and writes the whole file, and changes only the row of the certificate that it revokes.
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-updatedb")
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke", "newcerts/05.pem")
	for i, row := range rows(t, o.Dir) {
		if (row == got[i]) != (i != 4) {
			t.Errorf("%s: %q became %q", ours[i], got[i], row)
		}
	}
	// What openssl wrote is read, and written back unchanged.
	for _, dir := range []string{o.Dir, twin} {
		data, _ := os.ReadFile(filepath.Join(dir, indexName))
		entries, torn := parseIndex(data)
		if torn || !bytes.Equal(formatIndex(entries), data) {
			t.Errorf("torn %v, written back:\n%s", torn, formatIndex(entries))
		}
		for i, e := range entries {
			if e.Err != nil || e.Subject != strings.TrimSuffix(strings.Split(got[i], "\t")[5], "\n") ||
				!e.Expires.Equal(dates[(i+1)%len(dates)]) {
				t.Errorf("%s: %+v", ours[i], e)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// openssl and mailcertd revoke for every reason that openssl knows. The rows are the same, and so are the CRLs.
func TestReasonsAgainstOpenssl(t *testing.T) {
	openssltest.Need(t)
	o, d := made(t)
	var flags [][]string
	for _, reason := range sortedKeys(Reasons()) {
		flags = append(flags, []string{"-crl_reason", reason})
	}
	ours := len(flags)
	flags = append(flags, nil, []string{"-crl_reason", "removeFromCRL"}, []string{"-crl_hold", "holdInstructionReject"},
		[]string{"-crl_compromise", "20260701000000Z"}, []string{"-crl_CA_compromise", "20260702000000Z"})
	for range flags {
		issue(t, d, o, start)
	}
	for i, f := range flags {
		mustOpenssl(t, o.Dir,
			append([]string{"ca", "-config", "openssl.cnf", "-revoke", fmt.Sprintf("newcerts/%02X.pem", i+1)}, f...)...)
	}
	for range ours + 1 {
		issue(t, d, o, start)
	}
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range ours + 1 {
		theirs, reason, n := s.obs.index()[i], "", big.NewInt(int64(len(flags)+i+1))
		if i < ours {
			reason = flags[i][1]
		}
		if err := s.Revoke(n, reason, theirs.Revoked); err != nil {
			t.Fatal(err)
		}
		a, b := strings.Split(theirs.row(), "\t"), strings.Split(rows(t, o.Dir)[len(flags)+i], "\t")
		if a[0] != b[0] || a[2] != b[2] {
			t.Errorf("%q: the row says %q, openssl's %q", reason, b, a)
		}
		if err := s.Revoke(n, reason, start); !errors.Is(err, ErrRevoked) {
			t.Errorf("a second time: %v", err)
		}
		if out, err := openssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-revoke",
			"newcerts/"+FormatSerial(n)+".pem"); err == nil || !strings.Contains(out, "Already revoked") {
			t.Errorf("openssl revoked a certificate that was revoked: %s", out)
		}
		if out, _ := openssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-status",
			FormatSerial(n)); !strings.Contains(out, "Revoked (R)") {
			t.Errorf("status: %s", out)
		}
	}
	if err := s.Revoke(big.NewInt(1), "", start); !errors.Is(err, ErrRevoked) {
		t.Errorf("after openssl: %v", err)
	}
	read := func() map[string]string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(o.Dir, CRLName))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := pem.Decode(data)
		l, err := x509.ParseRevocationList(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, e := range l.RevokedCertificateEntries {
			var text strings.Builder
			text.WriteString(fmt.Sprint(e.RevocationTime, " ", e.ReasonCode))
			for _, x := range e.Extensions {
				if x.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 24}) { // invalidityDate, RFC 5280 5.3.2
					text.WriteString(fmt.Sprintf(" %q", x.Value))
				}
			}
			out[FormatSerial(e.SerialNumber)] = text.String()
		}
		return out
	}
	if err := s.WriteCRL(rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	mine := read()
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
	theirs := read()
	if len(theirs) != len(flags)+ours+1 || len(mine) != len(theirs) {
		t.Errorf("%d entries in our CRL, %d in openssl's", len(mine), len(theirs))
	}
	for serial, want := range theirs {
		if mine[serial] != want {
			n, _ := parseSerial(serial)
			t.Errorf("%s (%v): %q, openssl has %q", serial, flags[int(n.Int64()-1)%len(flags)], mine[serial], want)
		}
	}
}

// openssl marks expired rows. The marks stay, and nothing else changes.
func TestUpdateDB(t *testing.T) {
	o, d := made(t)
	name, err := pki.RawName(pki.Attribute{Type: "CN", Value: o.Host})
	if err != nil {
		t.Fatal(err)
	}
	orphan(t, o, 7, name, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	issue(t, d, o, time.Now())
	before := rows(t, o.Dir)
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-updatedb")
	if got := rows(t, o.Dir); len(got) != 2 || got[0] != "E"+before[0][1:] || got[1] != before[1] {
		t.Fatalf("%q", got)
	}
	c := issue(t, d, o, time.Now())
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Revoke(c.SerialNumber, "superseded", time.Now()); err != nil {
		t.Fatal(err)
	}
	got := rows(t, o.Dir)
	if obs := s.Observed(); len(got) != 3 || got[0] != "E"+before[0][1:] ||
		got[1] != strings.TrimSuffix(before[1], "\n")+"\n" || obs.index()[0].Status != Expired || len(obs.Faults) > 0 {
		t.Errorf("%q", got)
	}
	mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
}

// Rows that mailcertd did not write stay unchanged in every operation, whether or not they can be parsed.
func TestForeignRows(t *testing.T) {
	o, d := made(t)
	foreign := []string{
		"V\t360101000000Z\t\t0b\tunknown\t/CN=lower case serial\n",
		"V\t20360101000000Z\t\t000C\tfile.pem\t/CN=long date, zeros and a file\n",
		"R\t360101000000Z\t260101000000Z,holdInstruction,holdInstructionNone\t0D\tunknown\t/CN=held\n",
		"E\t160101000000Z\t\t0E\tunknown\t/O=M\\xC3\\xBCller\r\n",
		"V\t360101000000Z\t\t0F\tunknown\t/CN=bytes \xff\xfe\x00 \n",
		"X\t360101000000Z\t\t10\tunknown\t/CN=unknown status\n",
		"seven\tfields\tare\tone\ttoo\tmany\there\n",
		" \tnot empty\n",
	}
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), []byte(strings.Join(foreign, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	intact := func(when string, more int) {
		t.Helper()
		data, _ := os.ReadFile(filepath.Join(o.Dir, indexName))
		if !strings.HasPrefix(string(data), strings.Join(foreign, "")) ||
			strings.Count(string(data), "\n") != len(foreign)+more {
			t.Errorf("%s:\n%q", when, data)
		}
	}
	c := issue(t, d, o, start)
	intact("after an issue", 1)
	orphan(t, o, 40, c.RawSubject, start.AddDate(1, 0, 0))
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	intact("after an orphan", 2)
	if err := appendTo(filepath.Join(o.Dir, indexName), "V\t3601"); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	intact("after a torn row", 2)
	if err := s.Revoke(c.SerialNumber, "keyCompromise", start); err != nil {
		t.Fatal(err)
	}
	intact("after a revocation", 2)
	if _, err := s.Issue(request(t), rand.Reader, start); err != nil {
		t.Fatal(err)
	}
	intact("after another issue", 3)
	if err := s.Revoke(big.NewInt(11), "", start); err != nil { // 0b
		t.Fatal(err)
	}
	foreign[0] = "R\t360101000000Z\t260601120000Z\t0B\tunknown\t/CN=lower case serial\n"
	intact("after the revocation of one of them", 3)
}

// The rows that were read are written back byte for byte in their order, and reading them again gives the same.
func FuzzParseIndex(f *testing.F) {
	f.Add(
		[]byte(
			"V\t360101000000Z\t\t19\tunknown\t/CN=old\nhello\n" +
				"R\t20510101000000Z\t300101000000Z,keyTime,20260101000000Z\t0a\tunknown\t/C=JP/CN=x\n"))
	f.Add([]byte("# note\n\nE\t491231235959Z\t\tFF\tunknown\t/\r\n\t\n\r\nV\t36"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, torn := parseIndex(data)
		var want []byte
		lines := bytes.SplitAfter(data, []byte("\n"))
		for i, l := range lines {
			if i == len(lines)-1 && torn || len(bytes.TrimSpace(l)) == 0 || l[0] == '#' {
				continue
			}
			want = append(append(want, bytes.TrimSuffix(l, []byte("\n"))...), '\n')
		}
		once := formatIndex(entries)
		if !bytes.Equal(once, want) {
			t.Fatalf("%q became %q", want, once)
		}
		again, torn := parseIndex(once)
		if torn || len(again) != len(entries) || !bytes.Equal(formatIndex(again), once) {
			t.Fatalf("%q changes when it is read and written again", once)
		}
		for i, e := range again {
			w := entries[i]
			if (e.Err == nil) != (w.Err == nil) || e.Status != w.Status || !e.Expires.Equal(w.Expires) ||
				!e.Revoked.Equal(w.Revoked) ||
				e.Reason != w.Reason || e.Err == nil && e.Serial.Cmp(w.Serial) != 0 || e.File != w.File ||
				e.Subject != w.Subject {
				t.Fatalf("%+v became %+v", w, e)
			}
		}
	})
}
