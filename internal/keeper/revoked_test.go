package keeper

import (
	"bytes"
	"context"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// revokes revokes a certificate in the database of that site's CA, as `mailcertd revoke` does.
func (s *site) revokes(serial *big.Int, reason string) {
	s.t.Helper()
	session, err := ca.Open(context.Background(), s.o.Disk, ca.Options{Dir: s.cfg.CA.Dir, CRLDays: s.cfg.CRL.Days})
	if err != nil {
		s.t.Fatal(err)
	}
	defer session.Close()
	if err := session.Revoke(serial, reason, s.now); err != nil {
		s.t.Fatal(err)
	}
	if err := session.WriteCRL(s.o.Rand, s.now); err != nil {
		s.t.Fatal(err)
	}
}

// A certificate that the CA has revoked is replaced at once, together with its key if the reason says that somebody
// else may have the key. A member learns of the revocation when it next asks.
func TestOwnRevoked(t *testing.T) {
	for _, reason := range []string{"", "superseded", "keyCompromise", "CACompromise"} {
		for _, where := range []string{"the CA's host", "a member"} {
			t.Run(where+" "+reason, func(t *testing.T) {
				f := newFamily(t, "", "", "a.example.org")
				f.day(time.Hour)
				s := f.ca
				if where == "a member" {
					s = f.members["a.example.org"]
				}
				before := s.leaf()
				f.ca.revokes(before.SerialNumber, reason)
				f.day(25 * time.Hour) // a member asks daily
				f.day(time.Minute)
				after := s.leaf()
				if after.SerialNumber.Cmp(before.SerialNumber) == 0 {
					t.Fatalf("it stays:\n%s", strings.Join(s.log[max(0, len(s.log)-20):], "\n"))
				}
				if other := !pki.SamePublicKey(before.PublicKey, after.PublicKey); other != strings.HasSuffix(reason,
					"Compromise") {
					t.Errorf("it has a new key: %v", other)
				}
				if p := problem(s.Check(context.Background(), plan.Wish{}).Plan, plan.LeafRevoked); p != nil {
					t.Errorf("%+v", p)
				}
				f.everybody(reason)
				serial := after.SerialNumber
				for range 3 {
					f.day(time.Hour)
				}
				if s.leaf().SerialNumber.Cmp(serial) != 0 {
					t.Error("it was renewed a second time")
				}
			})
		}
	}
}

// If the CA cannot sign, a revoked certificate stays in place, and this is reported.
func TestOwnRevokedAndLocked(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	s.revokes(s.leaf().SerialNumber, "")
	secret := []byte("correct horse")
	path := filepath.Join(s.cfg.CA.Dir, "cakey.pem")
	key, err := pki.ParseKey(s.read(path))
	if err != nil {
		t.Fatal(err)
	}
	locked, err := pki.Encrypt(key, secret, s.o.Rand)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, locked, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.read(s.certs("host.cert"))
	r := s.settle(plan.Wish{})
	if p := problem(r.Plan, plan.LeafRevoked); p == nil || p.Repairable || p.Severity != plan.Error {
		t.Errorf("%+v", p)
	}
	if !bytes.Equal(before, s.read(s.certs("host.cert"))) {
		t.Error("it was replaced")
	}
	s.CA.SetPassphrase(secret)
	if r := s.settle(plan.Wish{}); s.complete(r) != "" {
		t.Error(s.complete(r))
	}
}

// If the CA signs a certificate that cannot be used, it does not sign again in the same run, and later only with
// growing delays. Meanwhile an interim certificate serves.
func TestSignedForNothing(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	for _, f := range []string{"host.key", "host.cert"} {
		if err := os.Remove(s.certs(f)); err != nil {
			t.Fatal(err)
		}
	}
	certs := filepath.Join(s.cfg.CA.Dir, "newcerts")
	lose := func(p durable.Point) error { // each certificate is lost after its row was written
		if p.Op == "append" {
			files, _ := filepath.Glob(filepath.Join(certs, "*.pem"))
			for _, f := range files {
				_ = os.Remove(f)
			}
		}
		return nil
	}
	rows := func() int { return ca.Observe(s.cfg.CA.Dir, ca.Filter{}).Rows }
	s.o.Disk.Before = lose
	s.settle(plan.Wish{})
	if n := rows(); n != 2 {
		t.Errorf("%d certificates were signed, want 1", n-1)
	}
	if o := s.leaf().Subject.Organization; len(o) != 1 || o[0] != plan.InterimOrganization {
		t.Errorf("instead of an interim certificate there is %v", o)
	}
	var last time.Duration
	for range 4 {
		n := rows()
		for range 5 { // sweeps and file events
			if _, err := s.Look(context.Background(), "sweep"); err != nil {
				t.Fatal(err)
			}
		}
		if rows() != n {
			t.Fatalf("signed again without waiting, %d rows", rows())
		}
		next := s.Check(context.Background(), plan.Wish{}).Plan.Next
		if d := next.Sub(s.now); d < last || d <= 0 {
			t.Errorf("the next attempt is in %s, the one before was in %s", d, last)
		} else {
			last = d
		}
		s.now = next
		s.settle(plan.Wish{})
		if rows() != n+1 {
			t.Errorf("%d rows, want %d", rows(), n+1)
		}
	}
	s.o.Disk.Before = nil
	s.later(24 * time.Hour)
	if r := s.settle(plan.Wish{}); s.complete(r) != "" || len(r.Plan.State.Failures) > 0 {
		t.Errorf("%s %v", s.complete(r), r.Plan.State.Failures)
	}
}

// The only certificate of a former generation is revoked because the key is compromised. Nothing with that key is
// installed any more, although an older certificate for it would be valid.
func TestOwnRevokedWithItsGeneration(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	next := func() {
		t.Helper()
		s.now = s.now.Add(time.Minute)
		s.settle(plan.Wish{Rollover: true, RolloverFrom: pki.Fingerprint(s.ca()), Promote: true})
	}
	next()
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
	next()
	before := s.leaf()
	s.revokes(before.SerialNumber, "keyCompromise")
	s.log = nil
	r := s.settle(plan.Wish{})
	if s.complete(r) != "" || pki.SamePublicKey(before.PublicKey, s.leaf().PublicKey) {
		t.Errorf("%s\n%s", s.complete(r), strings.Join(s.log, "\n"))
	}
	if log := strings.Join(s.log, "\n"); strings.Contains(log, string(plan.IssuerGone)) ||
		strings.Contains(log, string(plan.Unfinished)) {
		t.Errorf("%s", log)
	}
}
