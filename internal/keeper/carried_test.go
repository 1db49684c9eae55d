package keeper

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

func (s *site) install(text string, change func(*Incoming)) (Result, []string, error) {
	in := Incoming{Data: []byte(text)}
	if change != nil {
		change(&in)
	}
	return s.InstallFile(context.Background(), in)
}

// holds fails the test unless the set contains that key and certificate, the certificate is the first in its file, and
// sendmail accepts the set.
func (s *site) holds(when string, r Result, want signerOf) {
	s.t.Helper()
	key, err := pki.ParseKey(s.read(s.certs("host.key")))
	if err != nil || !pki.SamePublicKey(key.Public(), want.cert.PublicKey) || !s.leaf().Equal(want.cert) {
		s.t.Errorf("%s: it was not installed: %v", when, err)
	}
	if !r.Plan.Empty() || !r.Plan.Facts.Offered {
		s.t.Errorf("%s: left to do: %+v, offered: %v", when, r.Plan.Actions, r.Plan.Facts.Offered)
	}
	if st, err := os.Stat(s.certs("host.key")); err != nil || st.Mode().Perm() != 0o600 {
		s.t.Errorf("%s: the key's mode: %v", when, st.Mode())
	}
}

// twice installs the same file again, which must change nothing on the disk.
func (s *site) twice(text string, change func(*Incoming)) {
	s.t.Helper()
	before := snapshot(s.t, s.root)
	if r, _, err := s.install(text, change); err != nil || r.Changed {
		s.t.Errorf("the second installation: changed %v, %v", r.Changed, err)
	}
	if after := snapshot(s.t, s.root); after != before {
		s.t.Errorf("the second installation changed something on the disk:\n%s\n\n%s", before, after)
	}
}

// A good file is installed whatever the order of its parts and whatever is there before. A backup of a person's former
// files is kept.
func TestInstallOrders(t *testing.T) {
	var orders [][]int
	var permute func(done, left []int)
	permute = func(done, left []int) {
		if len(left) == 0 {
			orders = append(orders, done)
		}
		for i := range left {
			permute(append(done[:len(done):len(done)], left[i]), append(left[:i:i], left[i+1:]...))
		}
	}
	permute(nil, []int{0, 1, 2, 3})
	for i, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			s := newSite(t, "issuer: none")
			f := makeForeign(t, s.now)
			if i%2 == 0 {
				s.put(f)
				s.settle(plan.Wish{})
			}
			b := purchased(t, s.now, nil)
			parts, text := []string{b.leaf.keyPEM(t), b.leaf.pem(), b.middle.pem(), b.root.pem()}, "some text first\n"
			for _, p := range order {
				text += parts[p] + "Bag Attributes: <none>\n"
			}
			dry := snapshot(t, s.root)
			if _, notes, err := s.install(text, func(in *Incoming) { in.DryRun = true }); err != nil || len(notes) > 0 {
				t.Errorf("dry run: %v, %q", err, notes)
			}
			if after := snapshot(t, s.root); i%2 == 0 && after != dry {
				t.Errorf("the dry run changed something:\n%s\n\n%s", dry, after)
			}
			r, notes, err := s.install(text, nil)
			if err != nil || len(notes) > 0 {
				t.Fatalf("%v, %q", err, notes)
			}
			s.holds("installed", r, b.leaf)
			if file := pki.ReadCertFile(s.read(s.certs("host.cert"))); len(file.Certs) != 2 ||
				!file.Certs[1].Equal(b.middle.cert) {
				t.Errorf("host.cert contains %d certificates, want the leaf and the intermediate one", len(file.Certs))
			}
			if !bytes.Contains(s.read(s.certs("cacert.pem")), []byte(b.root.pem())) {
				t.Error("the root is not in cacert.pem")
			}
			if strings.Contains(string(s.read(s.certs("host.key"))), "CERTIFICATE") {
				t.Error("certificates are in the key file")
			}
			if i%2 == 0 && (!s.savedForGood(f.key) || !s.savedForGood(f.cert) || !s.savedForGood(f.ca)) {
				t.Error("there is no backup of the former files, or it may be pruned")
			}
			s.twice(text, nil)
		})
	}
}

// otherCA is a CA on another host.
func otherCA(t testing.TB, now time.Time) ca.Options {
	t.Helper()
	o := ca.Options{Dir: filepath.Join(t.TempDir(), "CA"), Key: pki.ECDSAP256, Days: 3650, Host: "ca.example.org"}
	if _, err := ca.Init(context.Background(), &durable.Disk{}, o, rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	return o
}

func encode(certs ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range certs {
		text.WriteString(string(pki.EncodeCertificate(c.Raw)))
	}
	return text.String()
}

// The file of `mailcertd issue` contains its key. The file of `mailcertd sign` is for the key that is here, or for the
// new one that waits for it.
func TestInstallIssuedAndSigned(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, "issuer: none")
	o := otherCA(t, s.now)
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.Issue(ctx, &durable.Disk{}, o,
		ca.Request{Public: key.Public(), Name: name, Days: 90, Backdate: time.Hour}, rand.Reader, s.now)
	if err != nil {
		t.Fatal(err)
	}
	issued := signerOf{c, key}
	roots := ca.Bundle(ca.Observe(o.Dir, ca.Filter{}), s.now)
	text := issued.keyPEM(t) + issued.pem() + encode(roots...)
	r, notes, err := s.install(text, nil)
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, %q", err, notes)
	}
	s.holds("issued", r, issued)
	if err := s.verify(); err != nil {
		t.Error(err)
	}
	s.twice(text, nil)
	for _, rekey := range []bool{false, true} {
		s.later(24 * time.Hour)
		before := s.read(s.certs("host.key"))
		csr, err := s.Request(ctx, certdir.Host, rekey)
		if err != nil {
			t.Fatal(err)
		}
		req, err := pki.ReadRequest(csr)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ca.Open(ctx, &durable.Disk{}, o)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := a.Sign(ca.Ask{Request: req, ByHand: true, Replace: true, Days: 60, Holds: s.leaf().SerialNumber},
			rand.Reader, s.now)
		a.Close()
		if err != nil {
			t.Fatal(err)
		}
		text := encode(append([]*x509.Certificate{c}, roots...)...)
		r, notes, err := s.install(text, nil)
		if err != nil || len(notes) > 0 {
			t.Fatalf("rekey %v: error %v, notes %q", rekey, err, notes)
		}
		s.holds(fmt.Sprint("signed, rekey ", rekey), r, signerOf{cert: c})
		if same := bytes.Equal(before, s.read(s.certs("host.key"))); same == rekey {
			t.Errorf("rekey %v: the key is the old one: %v", rekey, same)
		}
		s.twice(text, nil)
	}
}

// With the CA on another host, a person accepts its certificate by installing it. Installing it a second time changes
// nothing.
func TestInstallCA(t *testing.T) {
	s := newSite(t, "issuer: {ssh: {target: ca@ca.example.org}}")
	b := purchased(t, s.now, nil)
	if _, _, err := s.install(b.root.pem(), func(in *Incoming) { in.DryRun = true }); err != nil {
		t.Fatal(err)
	}
	if obs := s.Check(context.Background(), plan.Wish{Once: true}).Observed; len(obs.Accepted) != 0 {
		t.Error("the dry run accepted it")
	}
	for range 2 {
		if _, _, err := s.install(b.root.pem(), nil); err != nil {
			t.Fatal(err)
		}
		if obs := s.Check(context.Background(), plan.Wish{Once: true}).Observed; len(obs.Accepted) != 1 ||
			!obs.Accepted[0].Equal(b.root.cert) {
			t.Fatalf("%d are accepted", len(obs.Accepted))
		}
		s.twice(b.root.pem(), nil)
	}
}

// The acceptance of a CA cannot be stored. The person is told so with the errno, and nothing changes, because the next
// process would know nothing of it. A daemon that finds the CA by itself works from memory until the disk is back.
func TestInstallCAUnstored(t *testing.T) {
	full := func(s *site) {
		s.o.Disk.Before = func(p durable.Point) error {
			if strings.Contains(p.Path, "/"+candidatesDir) {
				return syscall.ENOSPC
			}
			return nil
		}
	}
	s := newSite(t, "issuer: {ssh: {target: ca@ca.example.org}}")
	b := purchased(t, s.now, nil)
	full(s)
	for _, text := range []string{b.root.pem(), b.root.pem() + b.middle.pem() + b.leaf.pem() + b.leaf.keyPEM(t)} {
		_, _, err := s.install(text, nil)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("the person is told: %v", err)
		}
		if n := len(s.Check(t.Context(), plan.Wish{}).Observed.Accepted); n != 0 || len(s.content("host.cert")) > 0 {
			t.Errorf("%d are accepted, and host.cert is\n%s", n, s.content("host.cert"))
		}
	}
	f := newFamily(t, "", "", "a.example.org")
	m := f.members["a.example.org"]
	full(m)
	f.look(m)
	f.everybody("from memory")
	if log := strings.Join(m.log, "\n"); !strings.Contains(log, syscall.ENOSPC.Error()) {
		t.Errorf("the daemon's log says nothing of it:\n%s", log)
	}
}

// A certificate that a person installed is kept although this host has a CA of its own.
func TestInstallBesideOurCA(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	b := purchased(t, s.now, nil)
	text := b.root.pem() + b.middle.pem() + b.leaf.pem() + b.leaf.keyPEM(t)
	r, notes, err := s.install(text, nil)
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, %q", err, notes)
	}
	s.holds("installed", r, b.leaf)
	s.twice(text, nil)
	s.later(48 * time.Hour)
	s.holds("two days later", s.settle(plan.Wish{}), b.leaf)
}

// When the certificate for which a host waits has come, its interim certificate is removed, also from cacert.pem, with
// its hash link.
func TestInstallEndsInterim(t *testing.T) {
	s := newSite(t, "issuer: none")
	if r := s.settle(plan.Wish{}); r.Plan.Facts.Owner != plan.Interim {
		t.Fatalf("before: %s", r.Plan.Facts.Owner)
	}
	p := purchased(t, s.now, nil)
	r, _, err := s.install(p.leaf.keyPEM(t)+p.leaf.pem()+p.middle.pem()+p.root.pem(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.holds("the end of an interim certificate", r, p.leaf)
	if cas := pki.ReadCertFile(s.read(s.certs("cacert.pem"))).Certs; len(cas) != 1 || !cas[0].Equal(p.root.cert) {
		t.Errorf("cacert.pem contains %d certificates", len(cas))
	}
	// If the file contains the seller's next root and the root is not in use yet, a note says so.
	next := purchased(t, s.now, nil)
	r, _, err = s.install(p.leaf.pem()+p.middle.pem()+p.root.pem()+next.root.pem(), nil)
	if err != nil || len(r.Done) == 0 {
		t.Errorf("another root: %v, %v", r.Done, err)
	}
}
