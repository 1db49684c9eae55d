package keeper

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Ten years of a daemon that looks as often as it asks to: the installed certificate never expires, never outlives its
// CA, and always verifies; new generations of the CA come in time; the number of our backups stays bounded, and the
// backup of a person's file is still there at the end.
func TestTenYears(t *testing.T) {
	for _, c := range []struct {
		name, yaml         string
		renewals           int // the least number
		generations, rekey int
	}{
		{"defaults", "", 12, 1, 0},
		{"short lives", "validity: {days: 90}\nca: {days: 1000}\nstate: {keep: 3}", 50, 4, 0},
		{"rotated keys",
			"validity: {days: 200}\nca: {days: 1500}\nkey: {type: ecdsa-p256, rotate_after: 400}\nstate: {keep: 5}", 20,
			2, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.yaml)
			if err := os.MkdirAll(s.cfg.Certs.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
			const own = "somebody's own file\n"
			if err := os.WriteFile(s.certs("cacert.pem"), []byte(own), 0o644); err != nil {
				t.Fatal(err)
			}
			s.settle(plan.Wish{})
			end := s.now.AddDate(10, 0, 0)
			last, lastCA, lastKey := s.leaf(), s.ca().Raw, pki.KeyFingerprint(s.leaf().PublicKey)
			renewals, generations, rekeys := 0, 0, 0
			for s.now.Before(end) {
				next, err := s.Look(t.Context(), "time")
				if err != nil {
					t.Fatalf("%v: %v", s.now, err)
				}
				leaf := s.leaf()
				if !leaf.Equal(last) {
					renewals++
					last = leaf
				}
				if k := pki.KeyFingerprint(leaf.PublicKey); k != lastKey {
					rekeys++
					lastKey = k
				}
				if c := s.ca(); string(c.Raw) != string(lastCA) {
					generations++
					lastCA = c.Raw
				}
				if err := s.verify(); err != nil {
					t.Fatalf("%v: %v", s.now, err)
				}
				for _, g := range append(s.older(), s.ca()) {
					if leaf.CheckSignatureFrom(g) == nil && leaf.NotAfter.After(g.NotAfter) {
						t.Fatalf("%v: the leaf outlives its CA", s.now)
					}
				}
				if own := s.ownBackups(); own > s.cfg.State.Keep {
					t.Fatalf("%v: %d backups of our own files", s.now, own)
				}
				// The daemon sleeps until then, at most an hour. Here it sleeps up to a week, which is the harder test.
				s.now = soonest(next, s.now.AddDate(0, 0, 7))
				s.believed()
				if err := s.verify(); err != nil { // the last moment before the daemon looks again
					t.Fatalf("%v: %v", s.now, err)
				}
			}
			if renewals < c.renewals || generations < c.generations || rekeys < c.rekey || renewals > 2*c.renewals+8 {
				t.Errorf("%d renewals, %d generations, %d keys", renewals, generations, rekeys)
			}
			found := false
			_ = filepath.WalkDir(s.backupsDir(), func(p string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					found = found || string(s.read(p)) == own
				}
				return err
			})
			if !found {
				t.Error("the copy of somebody's own file is gone")
			}
			if keys := s.replacedKeys(); keys > 0 {
				t.Errorf("backups contain %d replaced keys, and none was replaced in the last week", keys)
			}
			st, _ := state.Load(s.cfg.State.Dir)
			if len(st.Ours) > 256 || len(st.OldKeys) > 1 {
				t.Errorf("the state grows: %d files, %d keys", len(st.Ours), len(st.OldKeys))
			}
		})
	}
}

func (s *site) ca() *x509.Certificate { return ca.Observe(s.cfg.CA.Dir, ca.Filter{}).Current.Cert }

func (s *site) older() []*x509.Certificate {
	var out []*x509.Certificate
	for _, g := range ca.Observe(s.cfg.CA.Dir, ca.Filter{}).Older {
		out = append(out, g.Cert)
	}
	return out
}

func (s *site) ownBackups() int {
	gens, err := s.Backups()
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, g := range gens {
		if !g.Foreign {
			n++
		}
	}
	return n
}

// replacedKeys counts our replaced keys that are still in backups.
func (s *site) replacedKeys() int {
	n := 0
	gens, _ := s.Backups()
	for _, g := range gens {
		for _, f := range g.Files {
			if f.Name == "host.key" && !g.Foreign && !f.Deleted {
				n++
			}
		}
	}
	return n
}

// When the clock is behind the time that was seen, or implausible, nothing new is signed over a working set and the
// high-water mark stays. `renew --trust-clock` resets the mark.
func TestClock(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	s.later(2 * time.Hour)
	real, leaf := s.now, s.leaf()
	for name, now := range map[string]time.Time{"behind": real.AddDate(0, -2, 0),
		"past the CA's end": real.AddDate(11, 0, 0), "1970": time.Unix(0, 0)} {
		s.now = now
		r := s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(leaf)})
		if !s.leaf().Equal(leaf) || r.Plan.Worst() != plan.Error {
			t.Errorf("%s: signed, or not reported: %+v", name, r.Plan.Problems)
		}
	}
	s.now = real
	if st, _ := state.Load(s.cfg.State.Dir); !st.HighWater.Equal(real) {
		t.Errorf("the mark moved to %v", st.HighWater)
	}
	s.now = real.AddDate(0, 0, -2)
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(leaf), TrustClock: true})
	if s.leaf().Equal(leaf) {
		t.Error("--trust-clock was not believed")
	}
	if st, _ := state.Load(s.cfg.State.Dir); !st.HighWater.Equal(s.now) {
		t.Errorf("the mark is %v", st.HighWater)
	}
	// With nothing to serve, sendmail gets a certificate even with a wrong clock.
	s.now = time.Unix(1e9, 0)
	if err := os.RemoveAll(s.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if r := s.settle(plan.Wish{}); !r.Plan.Facts.Offered {
		t.Errorf("nothing to serve: %+v", r.Plan.Problems)
	}
}
