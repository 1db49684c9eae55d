package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

const aDay = 24 * time.Hour

// runs lets the daemon run for d. It looks when it asks for it, at the latest after an hour.
func (s *site) runs(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); ; {
		next, err := s.Look(s.t.Context(), "time")
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", s.now, err, strings.Join(s.log, "\n"))
		}
		if !s.now.Before(end) {
			return
		}
		if !next.IsZero() && next.Before(s.now.Add(time.Second)) {
			next = s.now.Add(time.Second) // as rcd does
		}
		s.now = soonest(soonest(next, s.now.Add(time.Hour)), end)
	}
}

// valid returns why a peer with the right time would refuse the host; "" means that it would not.
func (s *site) valid() string {
	if why := s.complete(s.Check(context.Background(), plan.Wish{})); why != "" {
		return why
	}
	if c := s.ca(); c.NotBefore.After(s.now) {
		return "the CA begins on " + c.NotBefore.String()
	}
	for _, l := range ca.Observe(s.cfg.CA.Dir, ca.Filter{}).CRL.Lists {
		if l.List != nil && l.List.ThisUpdate.After(s.now) {
			return "the CRL begins on " + l.List.ThisUpdate.String()
		}
	}
	return ""
}

// A clock that jumps far ahead for less than a day changes nothing, although everything looks old by it. When it is
// right again, everything is as before.
func TestLeapAhead(t *testing.T) {
	for _, leap := range []time.Duration{3 * aDay, 40 * aDay, 300 * aDay, 366 * aDay, 8 * 365 * aDay, 30 * 365 * aDay} {
		s := newSite(t, "crl: {install: true}\nstate: {keep: 1}")
		s.settle(plan.Wish{})
		rollover(t, s)
		s.runs(2 * aDay)
		s.settle(plan.Wish{Renew: true, Rekey: true, From: pki.Fingerprint(s.leaf()),
			FromKey: pki.KeyFingerprint(s.leaf().PublicKey)})
		s.runs(aDay)
		right, before := s.now, snapshot(t, s.cfg.Certs.Dir)+snapshot(t, s.cfg.CA.Dir)+snapshot(t, s.backupsDir())
		mark, _ := state.Load(s.cfg.State.Dir)
		// By this clock the certificate may have expired; then the clock is believed after an hour.
		short := 50 * time.Minute
		s.now = right.Add(leap)
		s.runs(short)
		r := s.Check(context.Background(), plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
		if !reported(r.Plan, plan.ClockAhead) && !reported(r.Plan, plan.ClockImplaus) || r.Plan.Worst() != plan.Error ||
			!r.Plan.Empty() {
			t.Errorf("%s: renew by that clock: %s", leap, reasons(r))
		}
		if got := snapshot(t, s.cfg.Certs.Dir) + snapshot(t, s.cfg.CA.Dir) + snapshot(t,
			s.backupsDir()); got != before {
			t.Errorf("%s: something was changed", leap)
		}
		s.now = right.Add(short)
		s.runs(time.Minute)
		if st, _ := state.Load(s.cfg.State.Dir); !st.HighWater.Equal(mark.HighWater) || st.Clock != (state.Clock{}) {
			t.Errorf("%s: the mark is %s, it was %s; %+v", leap, st.HighWater, mark.HighWater, st.Clock)
		}
		if why := s.valid(); why != "" {
			t.Errorf("%s: %s", leap, why)
		}
	}
}

// A clock that is far ahead and stays so is right: the host was off. It is believed after a day, or after an hour if
// the certificate has expired by it.
func TestLeapLasts(t *testing.T) {
	for _, c := range []struct{ off, within time.Duration }{
		{40 * aDay, 25 * time.Hour}, {300 * aDay, 25 * time.Hour}, {400 * aDay, 2 * time.Hour},
		{9 * 365 * aDay, 2 * time.Hour},
	} {
		s := newSite(t, "crl: {install: true}")
		s.settle(plan.Wish{})
		s.runs(2 * aDay)
		s.now = s.now.Add(c.off)
		s.runs(c.within / 3)
		if r := s.Check(context.Background(), plan.Wish{}); !reported(r.Plan, plan.ClockAhead) {
			t.Errorf("off for %s: believed at once", c.off)
		}
		s.runs(c.within)
		if why := s.valid(); why != "" {
			t.Errorf("off for %s: %s", c.off, why)
		}
		if r := s.Check(context.Background(), plan.Wish{}); reported(r.Plan, plan.ClockAhead) {
			t.Errorf("off for %s: not believed in time: %s", c.off, reasons(r))
		}
	}
}

// A missing certificate is made at once, whatever the clock says, and is valid by the right time.
func TestMissingByAWrongClock(t *testing.T) {
	for _, leap := range []time.Duration{40 * aDay, 400 * aDay, 20 * 365 * aDay, -2 * aDay, -300 * aDay} {
		s := newSite(t, "")
		s.settle(plan.Wish{})
		s.runs(3 * aDay)
		right := s.now
		s.now = right.Add(leap)
		for _, f := range []string{"host.key", "host.cert"} {
			if err := os.Remove(s.certs(f)); err != nil {
				t.Fatal(err)
			}
		}
		if r := s.settle(plan.Wish{}); !r.Plan.Facts.Offered {
			t.Errorf("%s: nothing to serve: %s", leap, reasons(r))
		}
		s.now = right.Add(time.Hour)
		s.runs(time.Minute)
		if why := s.valid(); why != "" {
			t.Errorf("%s: %s", leap, why)
		}
	}
}

// The first boot happens with a wrong clock. When the clock is right, at once or later, everything that was made is
// made again with the right dates; the CA keeps its key.
func TestFirstBootByAWrongClock(t *testing.T) {
	openssltest.Need(t)
	for _, c := range []struct {
		name  string
		wrong time.Time // the wrong time, in place of June 2026
		ran   time.Duration
		heals time.Duration
	}{
		{"1970", time.Unix(0, 0), 10 * time.Minute, 0},
		{"1970, for a week", time.Unix(0, 0), 7 * aDay, 0},
		{"2000", time.Unix(946684800, 0), time.Minute, 0},
		{"40 days ahead", time.Date(2026, 7, 11, 12, 0, 0, 0, time.UTC), 10 * time.Minute, 0},
		{"40 days ahead, for three days", time.Date(2026, 7, 11, 12, 0, 0, 0, time.UTC), 3 * aDay, 2 * time.Hour},
		{"20 years ahead", time.Date(2046, 6, 1, 12, 0, 0, 0, time.UTC), 10 * time.Minute, 0},
		{"20 years ahead, for three days", time.Date(2046, 6, 1, 12, 0, 0, 0, time.UTC), 3 * aDay, 2 * time.Hour},
		{"40 days behind", time.Date(2026, 4, 22, 12, 0, 0, 0, time.UTC), 10 * time.Minute, 0},
	} {
		s := newSite(t, "crl: {install: true}")
		s.o.Build = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
		right := s.now
		s.now = c.wrong
		s.settle(plan.Wish{})
		key := s.ca().RawSubjectPublicKeyInfo
		s.runs(c.ran)
		s.now = right.Add(c.ran)
		s.runs(c.heals + time.Minute)
		if why := s.valid(); why != "" {
			t.Errorf("%s: %s", c.name, why)
		}
		if !bytes.Equal(key, s.ca().RawSubjectPublicKeyInfo) {
			t.Errorf("%s: the CA has another key", c.name)
		}
		if r := s.Check(context.Background(), plan.Wish{}); reported(r.Plan, plan.ClockBehind) ||
			reported(r.Plan, plan.ClockImplaus) || reported(r.Plan, plan.CAEarly) {
			t.Errorf("%s: %s", c.name, reasons(r))
		}
		verify := exec.Command("openssl", "verify", "-no-CApath", "-CAfile", s.certs("cacert.pem"), "-attime",
			strconv.FormatInt(s.now.Unix(), 10), s.certs("host.cert"))
		if out, err := verify.CombinedOutput(); err != nil {
			t.Errorf("%s: %s", c.name, out)
		}
		s.runs(3 * aDay)
		if why := s.valid(); why != "" {
			t.Errorf("%s, three days later: %s", c.name, why)
		}
	}
}

// The clock jumped ahead and was believed, because it stayed so. When it is corrected, the host serves a certificate
// that is not valid yet. The older certificate comes back at once without a signature; if there is none, another one is
// issued within an hour.
func TestBackFromTheFuture(t *testing.T) {
	for _, older := range []bool{true, false} {
		s := newSite(t, "crl: {install: true}")
		s.settle(plan.Wish{})
		s.runs(2 * aDay)
		right, was := s.now, pki.Fingerprint(s.leaf())
		s.now = right.Add(280 * aDay)
		s.runs(2 * aDay)
		if pki.Fingerprint(s.leaf()) == was {
			t.Fatal("it was not renewed in two days")
		}
		if !older {
			s.forget(was)
		}
		rows := bytes.Count(s.read(filepath.Join(s.cfg.CA.Dir, "index.txt")), []byte("\n"))
		s.now = right.Add(2 * aDay)
		s.runs(time.Minute)
		if got := pki.Fingerprint(s.leaf()); (got == was) != older {
			t.Errorf("the older one is there: %v, and serves: %v", older, got == was)
		}
		if older && rows != bytes.Count(s.read(filepath.Join(s.cfg.CA.Dir, "index.txt")), []byte("\n")) {
			t.Error("something was signed at once")
		}
		s.runs(26 * time.Hour)
		if why := s.valid(); why != "" {
			t.Errorf("the older one is there: %v: %s", older, why)
		}
	}
}

// If the certificate is lost just then, the new one is valid by the present clock and by the time that was believed
// before.
func TestLostWhenSetRight(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	s.runs(2 * aDay)
	right := s.now
	s.now = right.Add(280 * aDay)
	s.runs(2 * aDay)
	believed := s.now
	s.now = right.Add(2 * aDay)
	for _, f := range []string{"host.key", "host.cert"} {
		if err := os.Remove(s.certs(f)); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(plan.Wish{})
	if c := s.leaf(); s.now.Before(c.NotBefore) || believed.After(c.NotAfter) {
		t.Errorf("it is valid from %s to %s; it is %s, and was %s", c.NotBefore, c.NotAfter, s.now, believed)
	}
}

// forget removes a certificate from newcerts and its row from index.txt.
func (s *site) forget(id string) {
	s.t.Helper()
	for _, is := range ca.Observe(s.cfg.CA.Dir, ca.Filter{Name: name}).Issued {
		if pki.Fingerprint(is.Cert) != id {
			continue
		}
		serial := ca.FormatSerial(is.Cert.SerialNumber)
		if err := os.Remove(filepath.Join(s.cfg.CA.Dir, "newcerts", serial+".pem")); err != nil {
			s.t.Fatal(err)
		}
		var rows []string
		for _, row := range strings.SplitAfter(string(s.read(filepath.Join(s.cfg.CA.Dir, "index.txt"))), "\n") {
			if !strings.Contains(row, serial) {
				rows = append(rows, row)
			}
		}
		s.write(filepath.Join(s.cfg.CA.Dir, "index.txt"), []byte(strings.Join(rows, "")))
	}
}

// Times in the state that a wrong clock put into the future delay nothing.
func TestTimesFromTheFuture(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	st, _ := state.Load(s.cfg.State.Dir)
	far := s.now.AddDate(3, 0, 0)
	st.Failures = map[string]state.Failure{plan.ObtainFailure: {Count: 3, First: far, Last: far, Next: far,
		Error: "no"}}
	st.Notify = map[string]*state.NotifyPending{"true": {Set: "x", Next: far}}
	if err := state.Save(s.o.Disk, s.cfg.State.Dir, st); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"host.key", "host.cert"} {
		if err := os.Remove(s.certs(f)); err != nil {
			t.Fatal(err)
		}
	}
	s.runs(2 * time.Hour)
	if why := s.valid(); why != "" {
		t.Error(why)
	}
}

// A member still trusts a CA whose certificate was made again for the same key.
func TestRedatedForMembers(t *testing.T) {
	f := newFamily(t, "", "", "a.example.org")
	f.day(0)
	f.day(280 * aDay)
	rollover(t, f.ca) // this generation is not valid yet
	f.day(aDay)
	f.day(-200 * aDay) // the clocks are corrected
	f.day(aDay)
	f.day(aDay)
	for who, s := range map[string]*site{"the CA's host": f.ca, "the member": f.members["a.example.org"]} {
		if begins := f.ca.ca().NotBefore; begins.After(s.now) {
			t.Errorf("the CA begins on %s", begins)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.read(s.certs("cacert.pem")))
		if _, err := s.leaf().Verify(x509.VerifyOptions{Roots: roots, CurrentTime: s.now}); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
}
