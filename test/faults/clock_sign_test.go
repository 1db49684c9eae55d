package faults

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSignedByAWrongClock: what a person has signed while the clock was wrong is valid when the clock is right again,
// and the CRL that revoke made does not then make sendmail refuse every certificate.
func TestSignedByAWrongClock(t *testing.T) {
	p := build(t)
	for name, wrong := range map[string]time.Duration{"1970": -time.Since(time.Unix(0, 0)), "40 days ahead": 40 * aDay,
		"400 days ahead": 400 * aDay} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := p.start(t, scenario{name: name, conf: "crl: {install: true, days: 2}",
				before: "$m ensure; $m issue old.example.test --yes -o old.pem"})
			begun, parcel, crl := time.Now(), filepath.Join(root, "new.pem"),
				filepath.Join(root, "etc/mail/certs/crl.pem")
			for _, args := range [][]string{{"issue", "new.example.test", "--yes", "-o", parcel},
				{"revoke", "old.example.test"}} {
				if e := p.run(p.armed, root, "MAILCERTD_CLOCK="+wrong.String(), args...); e.code != 0 &&
					args[0] == "issue" {
					t.Fatalf("%v: %s", args, e)
				}
			}
			leaf, err := x509.ParseCertificate(block(t, parcel, "CERTIFICATE"))
			if err != nil {
				t.Fatal(err)
			}
			if begun.Before(leaf.NotBefore) || begun.After(leaf.NotAfter.Add(-300*aDay)) {
				t.Errorf("issue: it is valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
			}
			list, err := x509.ParseRevocationList(block(t, crl, "X509 CRL"))
			if err != nil {
				t.Fatal(err)
			}
			if begun.Before(list.ThisUpdate) || begun.After(list.NextUpdate) ||
				len(list.RevokedCertificateEntries) != 1 {
				t.Errorf("revoke: a CRL of %s until %s with %d entries", list.ThisUpdate, list.NextUpdate,
					len(list.RevokedCertificateEntries))
			}
			if e := p.run(p.plain, root, "X=", "ensure"); e.code != 0 {
				t.Errorf("ensure with the right clock: %s", e)
			}
		})
	}
}

// block returns the first PEM block of that type in a file.
func block(t *testing.T, path, kind string) []byte {
	t.Helper()
	rest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for b, rest := pem.Decode(rest); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == kind {
			return b.Bytes
		}
	}
	t.Fatalf("%s: no %s", path, kind)
	return nil
}
