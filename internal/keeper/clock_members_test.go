package keeper

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// apart sets the member's clock away from the CA's and lets both run on for d. It returns how many questions the member
// asked.
func (f *family) apart(m *site, by, d time.Duration) (asked int) {
	f.t.Helper()
	ca := m.o.Issuer
	m.o.Issuer = issuer.Channel(func(ctx context.Context, request []byte) ([]byte, error) {
		asked++
		return ca.(issuer.Channel)(ctx, request)
	})
	defer func() { m.o.Issuer = ca }()
	for end := f.ca.now.Add(d); f.ca.now.Before(end); f.ca.now = f.ca.now.Add(10 * time.Minute) {
		m.now = f.ca.now.Add(by)
		f.look(m)
	}
	return asked
}

// A member's clock differs from the CA host's, so that it gets certificates that are not valid yet by its clock, or are
// due at once. It asks once an hour, says why, and has a usable certificate as soon as the clocks agree.
func TestMemberWithAnotherClock(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		has        bool // it has a certificate already
		by         time.Duration
		serves     bool // it serves a certificate although the clocks differ
	}{
		// It is served once its notBefore has passed.
		{"first boot, three hours behind", "", false, -3 * time.Hour, true},
		{"first boot, forty hours behind", "", false, -40 * time.Hour, false},
		{"first boot, forty days behind", "", false, -40 * aDay, false},
		{"three hours behind", "", true, -3 * time.Hour, true},
		{"first boot, three hours ahead", "", false, 3 * time.Hour, true},
		{"first boot, five days ahead of certificates for six", "validity: {days: 6}", false, 5 * aDay, false},
	} {
		f := newFamily(t, c.yaml, "", "a.example.org")
		m := f.members["a.example.org"]
		f.away["a.example.org"] = !c.has
		f.day(time.Hour)
		f.day(30 * time.Hour)
		const hours = 5
		asked := f.apart(m, c.by, hours*time.Hour)
		if asked > 2*hours+4 {
			t.Errorf("%s: asked %d times in %d hours", c.name, asked, hours)
		}
		r := m.Check(context.Background(), plan.Wish{})
		switch pr := problem(r.Plan, plan.IssuerAway); {
		case c.serves:
			if pr != nil {
				t.Errorf("%s: %+v", c.name, pr)
			}
		case pr == nil || !strings.Contains(pr.Text, "that this host cannot use: it ") ||
			!strings.Contains(pr.Hint, "clocks of the two hosts"):
			t.Errorf("%s: %s", c.name, reasons(r))
		}
		f.apart(m, 0, 2*time.Hour)
		if err := trusts(f.ca, m); err != nil {
			t.Errorf("%s: the clocks agree again: %v\n%s", c.name, err,
				strings.Join(m.log[max(0, len(m.log)-10):], "\n"))
		}
	}
}

// renew tells a person why the answer cannot be used.
func TestRenewWithAnotherClock(t *testing.T) {
	f := newFamily(t, "", "", "a.example.org")
	m := f.members["a.example.org"]
	f.away["a.example.org"] = true
	f.day(30 * time.Hour)
	f.apart(m, -3*time.Hour, 10*time.Minute)
	_, err := m.Renew(context.Background(), plan.Wish{Once: true, Renew: true, From: pki.Fingerprint(m.leaf())})
	if err == nil || !strings.Contains(err.Error(), "it becomes valid on ") ||
		!strings.Contains(err.Error(), "the clock of this host says ") {
		t.Error(err)
	}
}

// With a CRL that is not valid yet by the member's clock, OpenSSL would refuse everybody. It is reported and not
// installed yet; the former CRL stays as long as it is valid.
func TestMemberCRLFromTheFuture(t *testing.T) {
	f := newFamily(t, "", "crl: {install: true}", "a.example.org", "b.example.org")
	f.day(time.Hour)
	m := f.members["a.example.org"]
	f.apart(m, -3*time.Hour, 30*time.Minute)
	f.ca.revokes(f.members["b.example.org"].leaf().SerialNumber, "superseded")
	if _, err := f.ca.Look(context.Background(), "time"); err != nil {
		t.Fatal(err)
	}
	f.apart(m, -3*time.Hour, time.Hour)
	f.ca.now = f.ca.now.Add(25 * time.Hour)
	f.ca.revokes(f.ca.leaf().SerialNumber, "superseded")
	f.apart(m, -3*time.Hour, 20*time.Minute)
	early := func(what string) {
		text, err := os.ReadFile(m.certs("crl.pem"))
		if err != nil {
			return
		}
		for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
			if l, err := x509.ParseRevocationList(b.Bytes); err != nil || l.ThisUpdate.After(m.now) {
				t.Errorf("%s: sendmail has a CRL of %v; it is %s; %v", what, l.ThisUpdate, m.now, err)
			}
		}
	}
	early("behind")
	f.apart(m, 0, 26*time.Hour)
	early("right")
	if _, err := os.ReadFile(m.certs("crl.pem")); err != nil {
		t.Error(err)
	}
}

// A member was off for so long that its CRL has expired. The CA's new CRL is installed although the clock is doubted.
func TestMemberCRLAfterDaysOff(t *testing.T) {
	f := newFamily(t, "crl: {days: 7}", "crl: {install: true}", "a.example.org")
	f.day(time.Hour)
	f.ca.revokes(f.ca.leaf().SerialNumber, "superseded")
	for range 3 {
		f.day(25 * time.Hour)
	}
	m := f.members["a.example.org"]
	for range 10 {
		f.ca.now = f.ca.now.Add(aDay)
		if _, err := f.ca.Look(context.Background(), "time"); err != nil {
			t.Fatal(err)
		}
	}
	m.now = f.ca.now
	f.look(m)
	if r := m.Check(context.Background(), plan.Wish{}); !reported(r.Plan, plan.ClockAhead) ||
		problem(r.Plan, plan.CRLStale) != nil {
		t.Error(reasons(r))
	}
	b, _ := pem.Decode(m.read(m.certs("crl.pem")))
	if l, err := x509.ParseRevocationList(b.Bytes); err != nil || m.now.After(l.NextUpdate) ||
		m.now.Before(l.ThisUpdate) {
		t.Errorf("it is %s: a CRL of %v until %v, %v", m.now, l.ThisUpdate, l.NextUpdate, err)
	}
}
