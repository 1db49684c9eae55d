package keeper

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/plan"
)

// lie writes the two files of the host's pair; nil removes the file.
func (s *site) lie(key, cert []byte) {
	s.t.Helper()
	for n, b := range map[string][]byte{"host.key": key, "host.cert": cert} {
		_ = os.Remove(s.certs(n))
		if b != nil {
			s.write(s.certs(n), b)
			_ = os.Chmod(s.certs(n), 0o600)
		}
	}
}

func (s *site) content(name string) []byte {
	b, _ := os.ReadFile(s.certs(name))
	return b
}

// severity returns the worst severity of the problems with that reason, and -1 if there is none.
func severity(r Result, why plan.Reason) plan.Severity {
	worst := plan.Severity(-1)
	for _, p := range r.Plan.Problems {
		if p.Reason == why {
			worst = max(worst, p.Severity)
		}
	}
	return worst
}

// With issuer none, a person's files are not replaced or backed up because they are not yet a pair: not at once, not
// after ten minutes, and not by a verb. An interim certificate is made only where it replaces no file of a person.
func TestDeliveryLeftAlone(t *testing.T) {
	base := newSite(t, "issuer: none")
	f, other := makeForeign(t, base.now), makeForeign(t, base.now)
	half := func(b []byte) []byte { return b[:len(b)/2] }
	// The interim certificate that was there before is called I.
	for name, c := range map[string]struct {
		// I: the interim certificate's, F: bought, O: of another purchase, h: half of the bought one, 0: empty,
		// -: missing
		key, cert string
		interim   bool   // an interim certificate is made
		waits     bool   // the daemon waits ten minutes first
		stays     string // the bought files that must stay in any case
	}{
		"key first":                                   {"F", "I", false, true, "k"},
		"certificate first":                           {"I", "F", false, true, "c"},
		"half a key":                                  {"h", "I", false, true, "k"},
		"half a certificate":                          {"I", "h", false, true, "c"},
		"key, half a certificate":                     {"F", "h", false, true, "kc"},
		"certificate, half a key":                     {"h", "F", false, true, "kc"},
		"half and half":                               {"h", "h", false, true, "kc"},
		"of two purchases":                            {"O", "F", false, true, "kc"},
		"certificate alone":                           {"-", "F", false, true, "c"},
		"certificate, empty key":                      {"0", "F", false, true, "c"},
		"half a key alone":                            {"h", "-", false, true, "k"},
		"half a certificate alone":                    {"-", "h", false, true, "c"},
		"half a key, empty certificate":               {"h", "0", false, true, "k"},
		"key alone":                                   {"F", "-", true, true, "k"},
		"key, empty certificate":                      {"F", "0", true, true, "k"},
		"nothing":                                     {"-", "-", true, false, ""},
		"empty files":                                 {"0", "0", true, false, ""},
		"the interim certificate without its key":     {"-", "I", true, false, ""},
		"the interim certificate's key alone":         {"I", "-", true, false, ""},
		"the interim certificate's key, empty certif": {"I", "0", true, false, ""},
	} {
		for _, once := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", a verb"}[once], func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "issuer: none")
				s.settle(plan.Wish{})
				pick := func(what string, interim, bought, other []byte) []byte {
					return map[string][]byte{"I": interim, "F": bought, "O": other, "h": half(bought), "0": {},
						"-": nil}[what]
				}
				key := pick(c.key, s.content("host.key"), f.key, other.key)
				cert := pick(c.cert, s.content("host.cert"), f.cert, other.cert)
				s.lie(key, cert)
				start := s.now
				look := func() Result {
					r, err := s.Settle(t.Context(), plan.Wish{Once: once})
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(c.stays, "k") && !bytes.Equal(key, s.content("host.key")) ||
						strings.Contains(c.stays, "c") && !bytes.Equal(cert, s.content("host.cert")) {
						t.Fatalf("after %s somebody's file was changed", s.now.Sub(start))
					}
					return r
				}
				same := func() bool {
					return bytes.Equal(key, s.content("host.key")) && bytes.Equal(cert, s.content("host.cert"))
				}
				r := look()
				if waits := c.waits && !(once && c.interim); waits != same() {
					t.Errorf("left alone at first: %v", same())
				} else if waits {
					if want := start.Add(10 * time.Minute); !r.Plan.Next.Equal(want) {
						t.Errorf("looks again at %v", r.Plan.Next)
					}
					if severity(r, plan.Mismatch) == plan.Error && !c.interim {
						t.Error("reported as an error at once")
					}
					s.now = start.Add(9 * time.Minute)
					if look(); !same() {
						t.Error("changed after nine minutes")
					}
				}
				s.now = start.Add(10 * time.Minute)
				r = look()
				if c.interim {
					if r.Plan.Facts.Owner != plan.Interim || !r.Plan.Facts.Offered {
						t.Errorf("there is no interim certificate: %s", reasons(r))
					}
					return
				}
				if !same() || severity(r, plan.Mismatch) != plan.Error {
					t.Errorf("after ten minutes: the same %v, %s", same(), reasons(r))
				}
				s.now = start.Add(48 * time.Hour)
				if look(); !same() || s.savedForGood(key) || s.savedForGood(cert) {
					t.Error("it was backed up, or changed later")
				}
				s.lie(f.key, f.cert)
				r = s.settle(plan.Wish{})
				if r.Plan.Facts.Owner != plan.Foreign || !r.Plan.Facts.Offered || r.Plan.Worst() == plan.Error ||
					r.Plan.State.Mismatch.Digest != "" {
					t.Errorf("with both files complete the certificate is %s; %s", r.Plan.Facts.Owner, reasons(r))
				}
			})
		}
	}
}

// Files that nobody has bought are not protected in this way: the stanza's throw-away certificate, and an interim
// certificate that no state remembers.
func TestDeliveryOfNothing(t *testing.T) {
	openssltest.Need(t)
	for name, c := range map[string]struct {
		before func(s *site) error
		yields bool // it is replaced by an interim certificate
	}{
		"the stanza's without its key": {func(s *site) error { return os.Remove(s.certs("host.key")) }, true},
		"a key over the stanza's": {func(s *site) error {
			return os.WriteFile(s.certs("host.key"), makeForeign(t, s.now).key, 0o600)
		}, false},
		"the halves of two interim certificates": {func(s *site) error {
			s.lie(nil, nil)
			s.settle(plan.Wish{})
			key := s.content("host.key")
			s.lie(nil, nil)
			s.settle(plan.Wish{})
			s.lie(key, s.content("host.cert"))
			return nil
		}, true},
		"an interim certificate without its key": {func(s *site) error {
			s.lie(nil, nil)
			s.settle(plan.Wish{})
			_ = os.RemoveAll(s.cfg.State.Dir)
			return os.Remove(s.certs("host.key"))
		}, true},
	} {
		s := newSite(t, "issuer: none")
		s.now = time.Now()
		if out, err := exec.Command("sh", "../../scripts/stanza.sh", s.cfg.Certs.Dir,
			"mail.example.org").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := c.before(s); err != nil {
			t.Fatal(err)
		}
		cert := s.content("host.cert")
		if s.settle(plan.Wish{}); bytes.Equal(cert, s.content("host.cert")) == c.yields {
			t.Errorf("%s: an interim certificate: %v", name, !c.yields)
		}
	}
}

// Each piece that arrives starts the ten minutes again. cacert.pem is left to its owner as well.
func TestDeliveryInPieces(t *testing.T) {
	s := newSite(t, "issuer: none")
	s.settle(plan.Wish{})
	f := makeForeign(t, s.now)
	for n := range 8 {
		s.lie(f.key[:len(f.key)*n/8+1], s.content("host.cert"))
		s.write(s.certs("cacert.pem"), f.ca[:len(f.ca)*n/8])
		next, err := s.Look(t.Context(), "test")
		if err != nil || !next.Equal(s.now.Add(10*time.Minute)) {
			t.Fatalf("piece %d: looks again at %v, %v", n, next, err)
		}
		if !bytes.Equal(s.content("cacert.pem"), f.ca[:len(f.ca)*n/8]) {
			t.Fatalf("piece %d: cacert.pem was changed", n)
		}
		s.now = s.now.Add(9 * time.Minute)
	}
	s.put(f)
	if why := s.complete(s.settle(plan.Wish{})); why != "" {
		t.Error(why)
	}
	if gens, _ := s.Backups(); slices.ContainsFunc(gens, func(g durable.Backup) bool { return g.Foreign }) {
		t.Error("a file of its owner was backed up")
	}
}

// The end of a certificate that is kept is logged once on each configured day, and daily from the last of these days
// on. Every look says when the next line is due.
func TestForeignExpiry(t *testing.T) {
	for _, c := range []struct {
		yaml string
		life int   // days
		want []int // the whole days before the end on which a line is logged
	}{
		{"issuer: none", 3650, []int{30, 14, 7, 3, 1, 0}},
		{"issuer: none", 365, []int{30, 14, 7, 3, 1, 0}},
		{"issuer: none\nvalidity: {warn_days: [20, 4]}", 365, []int{20, 4, 3, 2, 1, 0}},
		// Not before the last quarter of its life, when it should have been renewed.
		{"issuer: none", 90, []int{22, 14, 7, 3, 1, 0}},
		{"issuer: none", 45, []int{11, 7, 3, 1, 0}},
		{"issuer: none", 6, []int{1, 1, 0}},
		{"issuer: none", 1, []int{0, 0}},
	} {
		s := newSite(t, c.yaml)
		s.put(makeForeignFor(t, s.now, c.life))
		s.settle(plan.Wish{})
		end := s.leaf().NotAfter
		var got []int
		for s.now.Before(end.Add(time.Hour)) {
			lines := len(s.log)
			next, err := s.Look(t.Context(), "test")
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Count(strings.Join(s.log[lines:], "\n"), "foreign-expiring"); told > 1 {
				t.Errorf("%d lines at once", told)
			} else if told == 1 {
				got = append(got, int(end.Sub(s.now)/(24*time.Hour)))
			}
			if next.IsZero() {
				break
			}
			s.now = next
			s.believed()
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %d days: logged %v days before the end, want %v", c.yaml, c.life, got, c.want)
		}
	}
}
