package keeper

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
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

// signerOf is somebody who signs: a CA, or the host itself.
type signerOf struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (s signerOf) pem() string { return string(pki.EncodeCertificate(s.cert.Raw)) }

func (s signerOf) keyPEM(t testing.TB) string {
	t.Helper()
	b, err := pki.MarshalKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// signed makes a key and its certificate, good for a year around now unless
// change says otherwise; by nil is itself.
func signed(t testing.TB, now time.Time, cn string, isCA bool, by *signerOf, change func(*x509.Certificate)) signerOf {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signedOver(t, now, cn, isCA, key, by, change)
}

func signedOver(t testing.TB, now time.Time, cn string, isCA bool, key crypto.Signer, by *signerOf, change func(*x509.Certificate)) signerOf {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano() + int64(len(cn))), Subject: pkix.Name{CommonName: cn}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: isCA, BasicConstraintsValid: true, SubjectKeyId: pki.KeyID(key.Public())}
	if !isCA {
		c.DNSNames = []string{cn}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	if change != nil {
		change(c)
	}
	parent := signerOf{c, key}
	if by != nil {
		parent = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return signerOf{c, key}
}

// purchase is what somebody sells: root, intermediate, and the host's own.
type purchase struct{ root, middle, leaf signerOf }

func purchased(t testing.TB, now time.Time, change func(*x509.Certificate)) purchase {
	root := signed(t, now, "Seller's root", true, nil, nil)
	middle := signed(t, now, "Seller's intermediate", true, &root, nil)
	return purchase{root, middle, signed(t, now, name, false, &middle, change)}
}

func (s *site) install(text string, change func(*Incoming)) (Result, []string, error) {
	in := Incoming{Data: []byte(text)}
	if change != nil {
		change(&in)
	}
	return s.InstallFile(context.Background(), in)
}

// holds fails the test unless the set is that key and certificate, as the first
// of its file, and sendmail takes it.
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

// twice installs the same again, which changes nothing on the disk.
func (s *site) twice(text string, change func(*Incoming)) {
	s.t.Helper()
	before := snapshot(s.t, s.root)
	if r, _, err := s.install(text, change); err != nil || r.Changed {
		s.t.Errorf("the second time: changed %v, %v", r.Changed, err)
	}
	if after := snapshot(s.t, s.root); after != before {
		s.t.Errorf("the second time changed something on the disk:\n%s\n\n%s", before, after)
	}
}

// Whatever the order of its parts, and whatever is there before, a good file is
// installed; what was there is kept as somebody's.
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
			if file := pki.ReadCertFile(s.read(s.certs("host.cert"))); len(file.Certs) != 2 || !file.Certs[1].Equal(b.middle.cert) {
				t.Errorf("host.cert holds %d certificates, want the host's and the intermediate one", len(file.Certs))
			}
			if !bytes.Contains(s.read(s.certs("cacert.pem")), []byte(b.root.pem())) {
				t.Error("the root is not in cacert.pem")
			}
			if strings.Contains(string(s.read(s.certs("host.key"))), "CERTIFICATE") {
				t.Error("certificates are in the key file")
			}
			if i%2 == 0 && (!s.archived(f.key) || !s.archived(f.cert) || !s.archived(f.ca)) {
				t.Error("what was there is not in the archive, or may be pruned")
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
	text := ""
	for _, c := range certs {
		text += string(pki.EncodeCertificate(c.Raw))
	}
	return text
}

// The file of `mailcertd issue` brings its key; that of `mailcertd sign` is for
// the key that is here, or for the new one that waits for it.
func TestInstallIssuedAndSigned(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, "issuer: none")
	o := otherCA(t, s.now)
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.Issue(ctx, &durable.Disk{}, o, ca.Request{Public: key.Public(), Name: name, Days: 90, Backdate: time.Hour}, rand.Reader, s.now)
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
		s.now = s.now.Add(24 * time.Hour)
		before := s.read(s.certs("host.key"))
		csr, err := s.Request(ctx, rekey)
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
		c, _, err := a.Sign(ca.Ask{Request: req, ByHand: true, Replace: true, Days: 60, Holds: s.leaf().SerialNumber}, rand.Reader, s.now)
		a.Close()
		if err != nil {
			t.Fatal(err)
		}
		text := encode(append([]*x509.Certificate{c}, roots...)...)
		r, notes, err := s.install(text, nil)
		if err != nil || len(notes) > 0 {
			t.Fatalf("rekey %v: %v, %q", rekey, err, notes)
		}
		s.holds(fmt.Sprint("signed, rekey ", rekey), r, signerOf{cert: c})
		if same := bytes.Equal(before, s.read(s.certs("host.key"))); same == rekey {
			t.Errorf("rekey %v: the key is the same: %v", rekey, same)
		}
		s.twice(text, nil)
	}
}

// What is not right is refused, says why, and changes nothing; --force
// overrules a person's own judgement and nothing that sendmail could not load.
func TestInstallRefused(t *testing.T) {
	now := newSite(t, "issuer: none").now
	good := purchased(t, now, nil)
	key, chain := good.leaf.keyPEM(t), good.middle.pem()+good.root.pem()
	full := key + good.leaf.pem() + chain
	leaf := func(change func(*x509.Certificate)) string {
		l := signed(t, now, name, false, &good.middle, change)
		return l.keyPEM(t) + l.pem() + chain
	}
	other := signed(t, now, name, false, &good.middle, nil)
	locked, err := pki.Encrypt(good.leaf.key, []byte("right"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.CreateRequest(good.leaf.key, name, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	gone := signed(t, now, "Seller's intermediate", true, &good.root, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
	late := signed(t, now, name, false, &gone, nil)
	types := func(secret string) func(func([]byte) error) ([]byte, error) {
		return func(opens func([]byte) error) ([]byte, error) { return []byte(secret), opens([]byte(secret)) }
	}
	for _, c := range []struct {
		what   string
		text   string
		secret string // that somebody types; "": nobody is there
		why    string // of the refusal; "": it is installed
		forced bool   // --force overrules it
		notes  int    // when it is installed, without --force
	}{
		{what: "good", text: full},
		{what: "right passphrase", text: string(locked) + good.leaf.pem() + chain, secret: "right"},
		{what: "wrong passphrase", text: string(locked) + good.leaf.pem() + chain, secret: "wrong", why: pki.ErrPassphrase.Error()},
		{what: "nobody knows the passphrase", text: string(locked) + good.leaf.pem() + chain, why: pki.ErrEncrypted.Error()},
		{what: "certificate for another key", text: key + other.pem() + chain, why: "do not belong together"},
		{what: "without its key", text: good.leaf.pem() + chain, why: "make a new request here"},
		{what: "key alone", text: key, why: "no certificate for it"},
		{what: "key and CA", text: key + chain, why: "no certificate for it"},
		{what: "CA alone", text: good.root.pem(), why: "no certificate for a host"},
		{what: "expired", text: leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }), why: "expired on 2026-05-31", forced: true},
		{what: "not yet valid", text: leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }), why: "not valid before 2026-06-01 13:00 UTC", forced: true},
		{what: "wrong name", text: leaf(func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", []string{"www.example.org"} }), why: "is for www.example.org", forced: true},
		{what: "name in the CN alone", text: leaf(func(c *x509.Certificate) { c.DNSNames = nil }), notes: 1},
		{what: "wildcard", text: leaf(func(c *x509.Certificate) { c.DNSNames = []string{"*.example.org"} })},
		{what: "no serverAuth", text: leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), why: "serverAuth", forced: true},
		{what: "no clientAuth", text: leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), notes: 1},
		{what: "any purpose", text: leaf(func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		{what: "missing intermediate", text: key + good.leaf.pem() + good.root.pem(), why: "add the chain", forced: true},
		{what: "expired intermediate", text: late.keyPEM(t) + late.pem() + gone.pem() + good.root.pem(), why: "expired on 2026-05-31", forced: true},
		{what: "no root", text: key + good.leaf.pem() + good.middle.pem()},
		{what: "two leaves", text: full + other.pem(), why: "2 certificates for hosts"},
		{what: "the same leaf twice", text: full + good.leaf.pem()},
		{what: "two keys", text: full + other.keyPEM(t), why: "2 private keys"},
		{what: "a CA in DER", text: string(good.middle.cert.Raw), why: "no certificate for a host"},
		{what: "PKCS#7", text: "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n", why: "is PKCS#7 in PEM; want certificate and key in PEM: openssl pkcs7 -print_certs"},
		{what: "request", text: string(csr), why: "mailcertd sign"},
		{what: "empty", text: "", why: pki.ErrGarbage.Error()},
		{what: "text", text: "hello\n", why: pki.ErrGarbage.Error()},
		{what: "cut short", text: full[:len(full)-40], why: "e"},
		{what: "carriage returns", text: strings.ReplaceAll(full, "\n", "\r\n")},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newSite(t, "issuer: none")
			f := makeForeign(t, s.now)
			s.put(f)
			s.settle(plan.Wish{})
			ask := func(in *Incoming) {
				if c.secret != "" {
					in.Passphrase = types(c.secret)
				}
			}
			before := snapshot(t, s.root)
			for _, dry := range []bool{true, false} {
				if dry || c.why != "" {
					_, _, err := s.install(c.text, func(in *Incoming) { ask(in); in.DryRun = dry })
					if (err != nil) != (c.why != "") || err != nil && !strings.Contains(err.Error(), c.why) {
						t.Errorf("dry run %v: %v, want %q", dry, err, c.why)
					}
					if err != nil && strings.Contains(err.Error(), "--force") != c.forced {
						t.Errorf("the way out: %v", err)
					}
					if after := snapshot(t, s.root); after != before {
						t.Fatalf("dry run %v changed something:\n%s\n\n%s", dry, before, after)
					}
				}
			}
			force := func(in *Incoming) { ask(in); in.Force = c.why != "" }
			_, notes, err := s.install(c.text, force)
			switch {
			case c.why != "" && !c.forced:
				if err == nil || snapshot(t, s.root) != before {
					t.Errorf("with --force: %v", err)
				}
			case err != nil:
				t.Errorf("installed: %v", err)
			case c.forced && !strings.Contains(strings.Join(notes, "\n"), c.why) || !c.forced && len(notes) != c.notes:
				t.Errorf("notes: %q", notes)
			default:
				p, err := pki.ParseKey(s.read(s.certs("host.key")))
				if err != nil || !pki.SamePublicKey(p.Public(), s.leaf().PublicKey) || !s.archived(f.key) || !s.archived(f.cert) {
					t.Errorf("not installed as a whole: %v", err)
				}
				s.twice(c.text, force)
			}
		})
	}
}

// sentinel errors stay what they are on the way out.
func TestInstallErrors(t *testing.T) {
	s := newSite(t, "issuer: none")
	b := purchased(t, s.now, nil)
	locked, err := pki.Encrypt(b.leaf.key, []byte("right"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.install(string(locked)+b.leaf.pem(), func(in *Incoming) {
		in.Passphrase = func(opens func([]byte) error) ([]byte, error) { return nil, opens([]byte("wrong")) }
	})
	if !errors.Is(err, pki.ErrPassphrase) {
		t.Error(err)
	}
}

// With the CA on another host a person's word makes its certificate right; a
// second word changes nothing.
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
		if obs := s.Check(context.Background(), plan.Wish{Once: true}).Observed; len(obs.Accepted) != 1 || !obs.Accepted[0].Equal(b.root.cert) {
			t.Fatalf("%d are accepted", len(obs.Accepted))
		}
		s.twice(b.root.pem(), nil)
	}
}

// Beside a CA of our own what a person installed stays.
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
	s.now = s.now.Add(48 * time.Hour)
	s.holds("two days later", s.settle(plan.Wish{}), b.leaf)
}

// The stop-gap of a host that waits for its certificate goes when that comes,
// out of cacert.pem and with its link.
func TestInstallEndsStopGap(t *testing.T) {
	s := newSite(t, "issuer: none")
	if r := s.settle(plan.Wish{}); r.Plan.Facts.Owner != plan.Interim {
		t.Fatalf("before: %s", r.Plan.Facts.Owner)
	}
	p := purchased(t, s.now, nil)
	r, _, err := s.install(p.leaf.keyPEM(t)+p.leaf.pem()+p.middle.pem()+p.root.pem(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.holds("the end of a stop-gap", r, p.leaf)
	if cas := pki.ReadCertFile(s.read(s.certs("cacert.pem"))).Certs; len(cas) != 1 || !cas[0].Equal(p.root.cert) {
		t.Errorf("cacert.pem holds %d certificates", len(cas))
	}
	// A file that brings the seller's next root alone with it says so.
	next := purchased(t, s.now, nil)
	r, _, err = s.install(p.leaf.pem()+p.middle.pem()+p.root.pem()+next.root.pem(), nil)
	if err != nil || len(r.Done) == 0 {
		t.Errorf("another root: %v, %v", r.Done, err)
	}
}
