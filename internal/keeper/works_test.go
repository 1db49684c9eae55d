package keeper

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A pair of another CA that OpenSSL loads stays byte for byte, however unusual. What is unusual about it is reported.
func TestOddPairsAreKept(t *testing.T) {
	now := newSite(t, "").now
	root := signed(t, now, "Seller", true, nil, nil)
	good := signed(t, now, name, false, &root, nil)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := signedOver(t, now, name, false, small, &root, nil)
	server := signed(t, now, name, false, &root, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
	for _, c := range []struct {
		what      string
		key, cert string
		tells     plan.Reason // the reason besides foreign-kept; "" means none
		severity  plan.Severity
	}{
		{"as it is", good.keyPEM(t), good.pem(), "", 0},
		{"a byte-order mark", good.keyPEM(t), "\xef\xbb\xbf" + good.pem(), plan.CertUnreadable, plan.Notice},
		{"a chain that is cut off", good.keyPEM(t), good.pem() + "-----BEGIN CERTIFICATE-----\nMIIBcutoff\n",
			plan.ChainBroken, plan.Warning},
		{"a broken certificate behind", good.keyPEM(t),
			good.pem() + "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n", plan.ChainBroken,
			plan.Warning},
		{"key and certificate in both", good.pem() + good.keyPEM(t), good.keyPEM(t) + good.pem(), "", 0},
		{"text around", "friendlyName: x\n" + good.keyPEM(t), "subject: x\n" + good.pem() + "the end", "", 0},
		{"blanks at the ends of lines", strings.ReplaceAll(good.keyPEM(t), "\n", "  \r\n"),
			strings.ReplaceAll(good.pem(), "\n", "\t\n"), "", 0},
		{"RSA of 1024 bits", weak.keyPEM(t), weak.pem(), plan.KeyWeak, plan.Warning},
		{"for servers alone, as public CAs give them", server.keyPEM(t), server.pem(), plan.WrongPurpose, plan.Notice},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.put(foreign{[]byte(c.key), []byte(c.cert), []byte(root.pem())})
			r := s.settle(plan.Wish{})
			if string(s.read(s.certs("host.cert"))) != c.cert || string(s.read(s.certs("host.key"))) != c.key {
				t.Fatalf("replaced: %s", reasons(r))
			}
			if !r.Plan.Facts.Offered || r.Plan.Worst() == plan.Error {
				t.Errorf("offered %v, %+v", r.Plan.Facts.Offered, r.Plan.Problems)
			}
			told := false
			for _, p := range r.Plan.Problems {
				told = told || p.Reason == c.tells && p.Severity == c.severity
				if strings.Contains(p.Text+p.Hint, "seller") {
					t.Errorf("asks for what no seller gives: %+v", p)
				}
				if c.tells == "" && strings.HasPrefix(string(p.Reason), "cert-") {
					t.Errorf("a problem is reported and nothing is wrong: %+v", p)
				}
			}
			if c.tells != "" && !told {
				t.Errorf("%s is not reported: %+v", c.tells, r.Plan.Problems)
			}
		})
	}
}

// A pair that OpenSSL refuses is reported, and replaced where somebody can issue here.
func TestWeakDigest(t *testing.T) {
	for _, yaml := range []string{"issuer: none", ""} {
		s := newSite(t, yaml)
		root := signed(t, s.now, "Seller", true, nil, nil)
		old := signed(t, s.now, name, false, &root, func(c *x509.Certificate) {
			c.SignatureAlgorithm = x509.ECDSAWithSHA1
		})
		s.put(foreign{[]byte(old.keyPEM(t)), []byte(old.pem()), []byte(root.pem())})
		before := s.Check(t.Context(), plan.Wish{Once: true})
		if !strings.Contains(reasons(before), string(plan.CertWeak)) {
			t.Errorf("%q: not reported: %s", yaml, reasons(before))
		}
		r := s.settle(plan.Wish{})
		switch replaced := !bytes.Equal(s.leaf().Raw, old.cert.Raw); {
		case yaml == "" && (!replaced || !s.savedForGood([]byte(old.pem())) || s.complete(r) != ""):
			t.Errorf("not replaced, or no backup: %s", s.complete(r))
		case yaml != "" && r.Plan.Facts.Offered && !replaced:
			t.Error("called fine")
		}
	}
}

// A certificate that our own CA signed with SHA-1 is ours, and is renewed.
func TestOwnLeafWithWeakDigest(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	key, err := pki.ParseKey(s.read(filepath.Join(s.cfg.CA.Dir, "cakey.pem")))
	if err != nil {
		t.Fatal(err)
	}
	by := signerOf{s.ca(), key}
	old := signed(t, s.now, name, false, &by, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	s.lie([]byte(old.keyPEM(t)), []byte(old.pem()))
	r := s.settle(plan.Wish{})
	if strings.Contains(reasons(r), string(plan.ForeignKept)) || s.savedForGood([]byte(old.pem())) ||
		bytes.Equal(s.leaf().Raw, old.cert.Raw) || s.complete(r) != "" {
		t.Errorf("not recognised as our own: %s; %s", reasons(r), s.complete(r))
	}
}

// A person's cacert.pem contains a certificate that crypto/x509 cannot parse. It stays and keeps its hash link, and our
// CA is trusted nevertheless.
func TestOddCAStays(t *testing.T) {
	s := newSite(t, "")
	root := signed(t, s.now, "Seller", true, nil, nil)
	keyFile := filepath.Join(t.TempDir(), "key")
	s.write(keyFile, []byte(root.keyPEM(t)))
	odd, err := exec.Command("openssl", "req", "-x509", "-key", keyFile, "-days", "999", "-set_serial", "-5", "-subj",
		"/CN=Negative Root", "-config", "/dev/null").Output()
	if err != nil {
		t.Skipf("openssl: %v", err)
	}
	if err := os.MkdirAll(s.cfg.Certs.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, first := range []bool{true, false} {
		text := root.pem() + string(odd)
		if !first { // the file contains our CA already
			text = string(s.read(s.certs("cacert.pem"))) + text
		}
		if err := os.WriteFile(s.certs("cacert.pem"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s.settle(plan.Wish{})
		s.now = s.now.AddDate(0, 0, 1)
		r := s.settle(plan.Wish{})
		if d := s.complete(r); d != "" {
			t.Error(d)
		}
		d := certdir.Observe(s.cfg.Certs.Dir)
		if first { // a file without a certificate of ours is replaced as a whole, with a backup
			if !s.savedForGood([]byte(text)) {
				t.Error("no copy")
			}
			continue
		}
		hash := pki.HashName(pki.ReadCertFile(odd).Certs[0].RawSubject, 0)
		if _, err := os.Lstat(s.certs(hash)); err != nil || len(d.CA.File.Certs) != 3 || d.CA.File.Err != nil {
			t.Errorf("%d certificates, %v, %v", len(d.CA.File.Certs), d.CA.File.Err, err)
		}
		if out, err := exec.Command("openssl", "verify", "-no_check_time", "-CApath", s.cfg.Certs.Dir,
			s.certs("host.cert")).CombinedOutput(); err != nil {
			t.Errorf("openssl verify: %v\n%s", err, out)
		}
	}
}

// A file with the good root and an expired cross-certificate is installed, because OpenSSL finds the valid path.
func TestInstallPastCross(t *testing.T) {
	s := newSite(t, "issuer: none")
	oldRoot := signed(t, s.now, "Old root", true, nil, nil)
	newRoot := signed(t, s.now, "New root", true, nil, nil)
	cross := signedOver(t, s.now, "New root", true, newRoot.key, &oldRoot, func(c *x509.Certificate) {
		c.NotAfter, c.SerialNumber = s.now.AddDate(0, 0, -3), big.NewInt(5)
	})
	leaf := signed(t, s.now, name, false, &newRoot, nil)
	if _, notes, err := s.install(leaf.keyPEM(t)+leaf.pem()+cross.pem()+newRoot.pem(),
		func(*Incoming) {}); err != nil || len(notes) > 0 {
		t.Errorf("%v, %q", err, notes)
	}
}

// One certificate in DER is installed for the key that is here.
func TestInstallDER(t *testing.T) {
	s := newSite(t, "issuer: none")
	o := otherCA(t, s.now)
	csr, err := s.Request(t.Context(), certdir.Host, true)
	if err != nil {
		t.Fatal(err)
	}
	_ = csr
	d := s.observer.observe(t.Context())
	public := d.Staged[certdir.Host.Name].Key.Public
	c, err := ca.Issue(t.Context(), &durable.Disk{}, o, ca.Request{Public: public, Name: name, Days: 90},
		rand.Reader, s.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, notes, err := s.install(string(c.Raw), func(in *Incoming) { in.Force = true }); err != nil ||
		!strings.Contains(strings.Join(notes, "\n"), "DER") {
		t.Errorf("%v, %q", err, notes)
	}
	if !bytes.Equal(s.leaf().Raw, c.Raw) {
		t.Error("it is not installed")
	}
}

// A bought pair came without its CA: the leaf itself is in cacert.pem instead. It is still recognised as bought. No CA
// of ours ever existed here.
func TestBoughtWithoutItsCA(t *testing.T) {
	s := newSite(t, "")
	f := makeForeign(t, s.now)
	s.lie(f.key, f.cert)
	for range 2 {
		r := s.settle(plan.Wish{})
		if !reported(r.Plan, plan.ForeignKept) || reported(r.Plan, plan.CAMissing) || !r.Plan.Facts.Offered {
			t.Errorf("%s, offered %v", reasons(r), r.Plan.Facts.Offered)
		}
	}
	r := s.settle(plan.Wish{Renew: true, Force: true, From: pki.Fingerprint(s.leaf())})
	if why := s.complete(r); why != "" || !s.savedForGood(f.cert) {
		t.Errorf("renew --force: %s, a copy of the bought one: %v", why, s.savedForGood(f.cert))
	}
}

// Nothing in cacert.pem can be parsed here, but OpenSSL loads it. It stays byte for byte, and the CA of the new host is
// trusted nevertheless.
func TestUnreadableCAsOnNewHost(t *testing.T) {
	s := newSite(t, "")
	root := signed(t, s.now, "Seller", true, nil, nil)
	der := root.cert.Raw
	if der[0] != 0x30 || der[1] != 0x82 {
		t.Fatalf("%x", der[:4])
	}
	odd := append([]byte{0x30, 0x83, 0}, der[2:]...) // this is a length that BER allows and DER does not
	text := pki.EncodeCertificate(odd)
	if err := os.MkdirAll(s.cfg.Certs.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.write(s.certs("cacert.pem"), text)
	s.settle(plan.Wish{})
	r := s.settle(plan.Wish{})
	if !bytes.Equal(s.read(s.certs("cacert.pem")), text) {
		t.Error("cacert.pem was changed")
	}
	out, err := exec.Command("openssl", "verify", "-no_check_time", "-CApath", s.cfg.Certs.Dir,
		s.certs("host.cert")).CombinedOutput()
	if err != nil {
		t.Errorf("openssl does not trust our CA: %s; %s", out, reasons(r))
	}
	if out, err := exec.Command("openssl", "storeutl", "-noout", "-certs",
		s.certs("cacert.pem")).CombinedOutput(); err != nil || !strings.Contains(string(out), "Total found: 1") {
		t.Errorf("openssl does not load it: %s", out)
	}
}
