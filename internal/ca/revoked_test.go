package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
)

// withCRL revokes certificates and makes the CRLs.
func withCRL(t *testing.T, d *durable.Disk, o Options, reason string, serials ...int64) {
	t.Helper()
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range serials {
		if err := s.Revoke(big.NewInt(n), reason, start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteCRL(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// inCRL returns the serials in crl.pem with their reasons.
func inCRL(t *testing.T, dir string) map[int64]int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, CRLName))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(data)
	l, err := x509.ParseRevocationList(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int64]int{}
	for _, e := range l.RevokedCertificateEntries {
		out[e.SerialNumber.Int64()] = e.ReasonCode
	}
	return out
}

// A revoked certificate stays revoked, whatever happens to index.txt.
func TestRevocationsStay(t *testing.T) {
	type files struct{ index, crl, before string } // before is an index.txt without the revocations
	edit := func(f files, change func(string) string) error {
		data, err := os.ReadFile(f.index)
		if err != nil {
			return err
		}
		return os.WriteFile(f.index, []byte(change(string(data))), 0o644)
	}
	row := func(rows, serial string) int { // row returns the index of a serial's row among the lines
		return slices.IndexFunc(strings.Split(rows, "\n"), func(l string) bool {
			return strings.Contains(l, "\t"+serial+"\t")
		})
	}
	for _, c := range []struct {
		name   string
		damage func(files) error
		left   FaultKind // the fault after Reconcile; "" means none
		gone   bool      // 03 has no readable row any more, and its revocation is not known
	}{
		{"index.txt gone", func(f files) error { return os.Remove(f.index) }, "", false},
		{"index.txt empty", func(f files) error { return os.WriteFile(f.index, nil, 0o644) }, "", false},
		{"the row deleted", func(f files) error {
			return edit(f, func(s string) string {
				l := strings.Split(s, "\n")
				return strings.Join(slices.Delete(l, row(s, "02"), row(s, "02")+1), "\n")
			})
		}, "", false},
		{"the last row cut after its reason", func(f files) error {
			return edit(f, func(s string) string {
				return s[:strings.LastIndex(s, "keyCompromise")+len("keyCompromise")] + "\t0"
			})
		}, "", false},
		{"the last row cut to its letter", func(f files) error {
			return edit(f, func(s string) string { return s[:strings.LastIndex(s[:len(s)-1], "\n")+2] })
		}, "", false},
		{"the same, and no CRL", func(f files) error {
			_ = os.Remove(f.crl)
			return edit(f, func(s string) string { return s[:strings.LastIndex(s[:len(s)-1], "\n")+2] })
		}, FaultIndexTorn, true},
		{"a damaged date", func(f files) error {
			return edit(f, func(s string) string {
				l := strings.Split(s, "\n")
				l[row(s, "02")] = strings.Replace(l[row(s, "02")], "Z,key", ",key", 1)
				return strings.Join(l, "\n")
			})
		}, FaultIndexRow, false},
		{"an old copy", func(f files) error { return os.WriteFile(f.index, []byte(f.before), 0o644) }, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, d := made(t)
			for range 3 {
				issue(t, d, o, time.Now())
			}
			f := files{index: filepath.Join(o.Dir, indexName), crl: filepath.Join(o.Dir, CRLName)}
			before, _ := os.ReadFile(f.index)
			f.before = string(before)
			withCRL(t, d, o, "keyCompromise", 2, 3)
			if err := c.damage(f); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time changes nothing
				if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
					t.Fatal(err)
				}
			}
			obs := Observe(o.Dir, Filter{})
			if c.left == "" && len(obs.Faults) > 0 || c.left != "" && !has(obs.Faults, c.left) {
				t.Errorf("faults %v, want %q", obs.Faults, c.left)
			}
			rows, _ := os.ReadFile(f.index)
			for _, serial := range []string{"02", "03"} {
				n, lives := strings.Count(string(rows), "\t"+serial+"\t"),
					strings.Contains(string(rows), "\t\t"+serial+"\t")
				if n > 1 || lives {
					t.Errorf("serial %s is there %d times, valid %v:\n%s", serial, n, lives, rows)
				}
			}
			if c.left == "" {
				mustOpenssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", os.DevNull)
			}
			withCRL(t, d, o, "")
			issue(t, d, o, time.Now()) // this rewrites a file that has no last line feed
			withCRL(t, d, o, "")
			got := inCRL(t, o.Dir)
			if got[2] != 1 || !c.gone && got[3] != 1 || len(got) > 2 {
				t.Errorf("the next CRL has %v", got)
			}
			if c.gone && !has(Observe(o.Dir, Filter{}).Faults, c.left) &&
				!has(Observe(o.Dir, Filter{}).Faults, FaultIndexRow) {
				t.Error("the revocation is forgotten after that")
			}
		})
	}
}

// A certificate that was on hold may be valid again, and only its row says so.
func TestHoldIsLifted(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, time.Now())
	valid, _ := os.ReadFile(filepath.Join(o.Dir, indexName))
	withCRL(t, d, o, "certificateHold", 1)
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), valid, 0o644); err != nil {
		t.Fatal(err)
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Faults) > 0 {
		t.Errorf("%v", obs.Faults)
	}
	withCRL(t, d, o, "")
	if got := inCRL(t, o.Dir); len(got) > 0 {
		t.Errorf("the next CRL has %v", got)
	}
}

// The rows that are reported to stop openssl do stop it, and no others do.
func TestRefusedRows(t *testing.T) {
	const date = "360101000000Z"
	for name, c := range map[string]struct {
		row     string
		refused bool
	}{
		"as it is":      {"V\t" + date + "\t\t10\tunknown\t/CN=x", false},
		"small letters": {"V\t" + date + "\t\t1a\tunknown\t/CN=x", false},
		"a reason":      {"R\t" + date + "\t260101000000Z,keyCompromise\t10\tunknown\t/CN=x", false},
		"on hold": {"R\t" + date +
			"\t260101000000Z,holdInstruction,holdInstructionReject\t10\tunknown\t/CN=x", false},
		"a time":           {"R\t" + date + "\t260101000000Z,keyTime,20260101000000Z\t10\tunknown\t/CN=x", false},
		"odd":              {"V\t" + date + "\t\t1\tunknown\t/CN=x", true},
		"a word":           {"R\t" + date + "\t260101000000Z,keyCompromis\t10\tunknown\t/CN=x", true},
		"is there twice":   {"V\t" + date + "\t\t02\tunknown\t/CN=x", true},
		"a blank line":     {"", true},
		"a line of blanks": {" \t ", true},
	} {
		t.Run(name, func(t *testing.T) {
			o, d := made(t)
			issue(t, d, o, time.Now())
			issue(t, d, o, time.Now().Add(time.Minute))
			if err := appendTo(filepath.Join(o.Dir, indexName), c.row+"\n"); err != nil {
				t.Fatal(err)
			}
			out, err := openssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", os.DevNull)
			faults := Observe(o.Dir, Filter{}).Faults
			told := has(faults, FaultIndexRefused) || has(faults, FaultIndexBlank)
			if (err != nil) != c.refused || told != c.refused {
				t.Errorf("openssl: %v %s\ntold: %v", err, out, faults)
			}
			if c.refused && has(faults, FaultUnique) {
				t.Errorf("a useless repair is offered: %v", faults)
			}
		})
	}
}

// A person who keeps files of the CA in another place, with links to them, still finds them there.
func TestLinksStay(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, time.Now())
	withCRL(t, d, o, "")
	elsewhere := t.TempDir()
	names := []string{indexName, serialName, crlNumName, attrName, CRLName}
	was := map[string][]byte{}
	for _, n := range names {
		at := filepath.Join(o.Dir, n)
		was[n], _ = os.ReadFile(at)
		if n == attrName {
			was[n] = []byte("unique_subject = yes\n") // the file must be written then
			_ = os.WriteFile(at, was[n], 0o644)
		}
		if err := os.Rename(at, filepath.Join(elsewhere, n)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(elsewhere, n), at); err != nil {
			t.Fatal(err)
		}
	}
	issue(t, d, o, time.Now().Add(time.Minute))
	mustOpenssl(t, o.Dir, "req", "-config", "openssl.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout", "x.key", "-out",
		"x.csr", "-subj", "/CN=x.example.org")
	withCRL(t, d, o, "superseded", 1)
	for _, n := range names {
		if durable.Look(filepath.Join(o.Dir, n)).Kind != durable.Link {
			t.Errorf("%s is not a link any more", n)
		}
		if now, err := os.ReadFile(filepath.Join(elsewhere, n)); err != nil || bytes.Equal(now, was[n]) {
			t.Errorf("%s has not changed: %v", n, err)
		}
	}
	if obs := Observe(o.Dir, Filter{}); len(obs.Faults) > 0 || len(obs.index()) != 2 {
		t.Errorf("%v, %d rows", obs.Faults, len(obs.index()))
	}
}
