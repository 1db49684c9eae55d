package keeper

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// family is the CA host and its members, all on one clock. The members reach its inbox without ssh.
type family struct {
	t       *testing.T
	ca      *site
	members map[string]*site
	away    map[string]bool // members that are switched off
	dead    bool            // the CA host is switched off
	n       int
}

func newFamily(t *testing.T, caYAML, memberYAML string, names ...string) *family {
	f := &family{t: t, ca: newSite(t, caYAML), members: map[string]*site{}, away: map[string]bool{}}
	f.ca.settle(plan.Wish{})
	for _, name := range names {
		if err := ca.Members(context.Background(), f.ca.o.Disk, f.ca.cfg.CA.Dir,
			ca.Enrol(name, nil, f.ca.now)); err != nil {
			t.Fatal(err)
		}
		m := newSite(t, memberYAML+"\nissuer: {ssh: {target: ca}}\nhost: {name: "+name+"}")
		m.o.Issuer = issuer.Channel(func(ctx context.Context, request []byte) ([]byte, error) {
			return f.ask(name, request)
		})
		f.members[name] = m
	}
	f.ca.settle(plan.Wish{}) // this makes the inbox
	return f
}

// ask does what the forced command and the CA host's daemon do together.
func (f *family) ask(name string, request []byte) ([]byte, error) {
	if f.dead {
		return nil, errors.New("no route to host")
	}
	f.n++
	id := fmt.Sprintf("%032x", f.n)
	path := filepath.Join(f.ca.cfg.CA.Inbox, "in", id+".req")
	if err := os.WriteFile(path, append([]byte("from: "+name+"\n"), request...), 0o600); err != nil {
		return nil, err
	}
	_ = os.Chtimes(path, f.ca.now, f.ca.now)
	// The answer is taken as soon as it exists: by this clock it is old, and the same look removes it.
	var answer []byte
	f.ca.o.Disk.Before = func(p durable.Point) error {
		if p.Op == "remove" && p.Path == path {
			answer, _ = os.ReadFile(filepath.Join(f.ca.cfg.CA.Inbox, "out", id+".ans"))
		}
		return nil
	}
	defer func() { f.ca.o.Disk.Before = nil }()
	if _, err := f.ca.Look(context.Background(), "request"); err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, errors.New("no answer")
	}
	return answer, nil
}

// day moves the clock on by d and lets every host that is on look, with the answers to its questions.
func (f *family) day(d time.Duration) {
	f.t.Helper()
	now := f.ca.now.Add(d)
	f.ca.now = now
	f.ca.believed()
	if !f.dead {
		if _, err := f.ca.Look(context.Background(), "time"); err != nil {
			f.t.Fatal(err)
		}
	}
	for name, m := range f.members {
		m.now = now
		m.believed()
		if !f.away[name] {
			f.look(m)
		}
	}
}

// look lets a member look until it has no more questions.
func (f *family) look(m *site) {
	f.t.Helper()
	for range 5 {
		if _, err := m.Look(context.Background(), "time"); err != nil {
			f.t.Fatalf("%v\n%s", err, strings.Join(m.log, "\n"))
		}
		if !m.asker.asking {
			return
		}
		<-m.Wake()
	}
}

// trusts returns nil if y's cacert.pem verifies x's certificate now.
func trusts(y, x *site) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(y.read(y.certs("cacert.pem")))
	_, err := x.leaf().Verify(x509.VerifyOptions{Roots: roots, CurrentTime: y.now})
	return err
}

// everybody checks that all hosts that are on trust each other.
func (f *family) everybody(what string) {
	f.t.Helper()
	all := map[string]*site{"ca": f.ca}
	for name, m := range f.members {
		if !f.away[name] {
			all[name] = m
		}
	}
	for a, x := range all {
		for b, y := range all {
			if err := trusts(y, x); err != nil {
				f.t.Fatalf("%s: %s: %s does not trust %s: %v\n%s", what, x.now.Format(time.DateOnly), b, a, err,
					strings.Join(x.log[max(0, len(x.log)-40):], "\n"))
			}
		}
	}
}

// A CA lives for 400 days and has two members. One of them is off for six weeks when the next generation starts. At all
// times the hosts that are on trust each other.
func TestMembersThroughGenerations(t *testing.T) {
	const away = "b.example.org"
	f := newFamily(t, "ca: {days: 400}\nvalidity: {days: 100}", "validity: {days: 100}", "a.example.org", away)
	f.day(time.Hour)
	f.everybody("the first day")
	subject := string(f.ca.leaf().RawIssuer)
	generations := map[string]bool{}
	var waited, passed int // numbers of days
	for d := 0; d < 600; d += 2 {
		f.away[away] = d >= 258 && d < 300
		f.day(48 * time.Hour)
		f.everybody(fmt.Sprint("day ", d))
		obs := ca.Observe(f.ca.cfg.CA.Dir, ca.Filter{})
		generations[pki.Fingerprint(obs.Current.Cert)] = true
		waiting, silent := obs.Waiting(f.ca.now)
		if slices.Contains(waiting, away) {
			waited += 2
		}
		if f.away[away] && !obs.HasNext() && len(generations) > 1 || len(silent) > 0 {
			passed += 2
		}
		if string(f.ca.leaf().RawIssuer) != subject {
			t.Fatal("the CA's subject has changed")
		}
		if p := problem(f.ca.Check(context.Background(), plan.Wish{}).Plan,
			plan.CAWaiting); (p != nil) != (len(waiting) > 0) {
			t.Fatalf("day %d: waiting for %v, reported %+v", d, waiting, p)
		}
	}
	if len(generations) != 3 || waited < 10 || waited > 30 || passed == 0 {
		t.Errorf("%d generations, waited on %d days, not waited for the member on %d", len(generations), waited, passed)
	}
	for name, m := range f.members {
		if strings.Contains(strings.Join(m.log, "\n"), "ca-refused") {
			t.Errorf("%s refused a generation", name)
		}
	}
	if obs := ca.Observe(f.ca.cfg.CA.Dir, ca.Filter{}); len(obs.Faults) > 0 {
		t.Errorf("%v", obs.Faults)
	}
}

// The CA host is off when a certificate is due. The old certificate stays, the question is repeated with a backoff, and
// the problem is reported, with a higher severity when little time is left.
func TestCAAway(t *testing.T) {
	f := newFamily(t, "validity: {days: 90}", "validity: {days: 90}", "a.example.org")
	f.day(time.Hour)
	m := f.members["a.example.org"]
	was := m.leaf().SerialNumber
	f.dead = true
	for range 40 {
		f.day(24 * time.Hour)
	}
	r := m.Check(context.Background(), plan.Wish{})
	if p := problem(r.Plan, plan.IssuerAway); p == nil || p.Severity != plan.Warning ||
		!strings.Contains(p.Text, "no route to host") {
		t.Errorf("not due: %+v", r.Plan.Problems)
	}
	for range 30 {
		f.day(24 * time.Hour)
	}
	r = m.Check(context.Background(), plan.Wish{})
	if p := problem(r.Plan, plan.IssuerAway); p == nil || p.Severity != plan.Error {
		t.Errorf("due: %+v", r.Plan.Problems)
	}
	if m.leaf().SerialNumber.Cmp(was) != 0 {
		t.Error("the certificate has changed")
	}
	if n := m.Check(context.Background(), plan.Wish{}).Plan.State.Failures[plan.ObtainFailure]; n.Count < 60 ||
		n.Next.Sub(n.Last) > time.Hour {
		t.Errorf("%+v", n)
	}
	f.dead = false
	f.day(2 * time.Hour)
	if m.leaf().SerialNumber.Cmp(was) == 0 ||
		problem(m.Check(context.Background(), plan.Wish{}).Plan, plan.IssuerAway) != nil {
		t.Error("it did not renew when the CA was back")
	}
	f.everybody("after that")
}

func problem(p plan.Plan, r plan.Reason) *plan.Problem {
	for i := range p.Problems {
		if p.Problems[i].Reason == r {
			return &p.Problems[i]
		}
	}
	return nil
}

// A member that has lost its state asks again and recognises its certificate. Another CA in the place of its own is
// refused until a person accepts it.
func TestMemberForgets(t *testing.T) {
	f := newFamily(t, "", "", "a.example.org")
	f.day(time.Hour)
	m := f.members["a.example.org"]
	was := m.leaf()
	if err := os.RemoveAll(m.cfg.State.Dir); err != nil {
		t.Fatal(err)
	}
	f.day(time.Hour)
	if !m.leaf().Equal(was) {
		t.Error("it got another certificate")
	}
	if r := m.Check(context.Background(), plan.Wish{}); r.Plan.Facts.Owner != plan.Ours {
		t.Errorf("it is %s now", r.Plan.Facts.Owner)
	}
	// The CA host is installed again: another CA under the same name.
	if err := os.RemoveAll(f.ca.cfg.CA.Dir); err != nil {
		t.Fatal(err)
	}
	f.ca.settle(plan.Wish{MakeCA: true})
	if err := ca.Members(context.Background(), f.ca.o.Disk, f.ca.cfg.CA.Dir,
		ca.Enrol("a.example.org", nil, f.ca.now)); err != nil {
		t.Fatal(err)
	}
	f.day(25 * time.Hour)
	bundle := m.read(m.certs("cacert.pem"))
	r := m.Check(context.Background(), plan.Wish{})
	if p := problem(r.Plan, plan.CARefused); p == nil || !m.leaf().Equal(was) {
		t.Errorf("another CA: %+v", r.Plan.Problems)
	}
	if c := pki.ReadCertFile(bundle).Certs; len(c) != 1 || was.CheckSignatureFrom(c[0]) != nil {
		t.Error("cacert.pem changed")
	}
	next := ca.Observe(f.ca.cfg.CA.Dir, ca.Filter{}).Current.Cert
	if _, _, err := m.InstallFile(context.Background(), Incoming{Data: pki.EncodeCertificate(next.Raw)}); err != nil {
		t.Fatal(err)
	}
	f.day(25 * time.Hour)
	if m.leaf().CheckSignatureFrom(next) != nil {
		t.Errorf("accepted by hand, and not used:\n%s", strings.Join(m.log, "\n"))
	}
}

// A member with crl.install gets the CA's CRL within a day. While the CA host is off, the member removes the CRL before
// it expires, because with an expired CRL sendmail refuses every client.
func TestMemberCRL(t *testing.T) {
	f := newFamily(t, "", "crl: {install: true}", "a.example.org", "b.example.org")
	f.day(time.Hour)
	a := f.members["a.example.org"]
	if _, err := os.Stat(a.certs("crl.pem")); err == nil {
		t.Error("there is a CRL that the CA has not made")
	}
	s, err := ca.Open(context.Background(), f.ca.o.Disk, f.ca.CA.Options(f.ca.observer.observe(context.Background())))
	if err != nil {
		t.Fatal(err)
	}
	revoked := f.members["b.example.org"].leaf().SerialNumber
	if err := s.Revoke(revoked, "keyCompromise", f.ca.now); err != nil {
		t.Fatal(err)
	}
	s.Close()
	f.day(25 * time.Hour) // the CA host's daemon makes the CRL, and the member asks for it
	f.day(25 * time.Hour)
	list := func() *x509.RevocationList {
		b, _ := pem.Decode(a.read(a.certs("crl.pem")))
		l, err := x509.ParseRevocationList(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := list()
	if len(l.RevokedCertificateEntries) != 1 || l.RevokedCertificateEntries[0].SerialNumber.Cmp(revoked) != 0 {
		t.Fatalf("%+v", l.RevokedCertificateEntries)
	}
	for range 40 {
		f.day(24 * time.Hour)
		if now := list(); !now.NextUpdate.After(f.ca.now.Add(5 * 24 * time.Hour)) {
			t.Fatalf("%s: the CRL expires on %s", f.ca.now, now.NextUpdate)
		}
	}
	ends := list().NextUpdate
	f.dead = true
	for f.ca.now.Before(ends) {
		if _, err := os.Stat(a.certs("crl.pem")); err == nil && ends.Sub(f.ca.now) < 23*time.Hour {
			t.Fatalf("%s: the CRL expires on %s and is still installed", f.ca.now, ends)
		}
		f.day(time.Hour)
	}
	if _, err := os.Stat(a.certs("crl.pem")); err == nil {
		t.Error("the CRL has expired and is still installed")
	}
	if links, _ := filepath.Glob(a.certs("*.r0")); len(links) > 0 {
		t.Errorf("%v", links)
	}
}

// An inbox that somebody has filled up is reported as an error.
func TestCrowdedInbox(t *testing.T) {
	f := newFamily(t, "", "", "a.example.org")
	in := filepath.Join(f.ca.cfg.CA.Inbox, "in")
	for i := range 20_001 {
		if err := os.Mkdir(filepath.Join(in, fmt.Sprint(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if p := problem(f.ca.Check(context.Background(), plan.Wish{}).Plan, plan.InboxDue); p == nil ||
		p.Severity != plan.Error {
		t.Errorf("%+v", p)
	}
	f.ca.now = time.Now().Add(time.Hour) // by the clock with which the directories were made
	for range 3 {                        // each look removes a part of them
		f.ca.settle(plan.Wish{})
	}
	if p := problem(f.ca.Check(context.Background(), plan.Wish{}).Plan, plan.InboxDue); p != nil {
		t.Errorf("an hour later: %+v", p)
	}
}
