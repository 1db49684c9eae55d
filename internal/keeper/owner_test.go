package keeper

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// put installs a pair and a CA, as a person would.
func (s *site) put(f foreign) {
	s.t.Helper()
	if err := os.MkdirAll(s.cfg.Certs.Dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for n, b := range map[string][]byte{"host.key": f.key, "host.cert": f.cert, "cacert.pem": f.ca} {
		_ = os.Remove(s.certs(n))
		if err := os.WriteFile(s.certs(n), b, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// savedForGood says that a backup that is never pruned contains b.
func (s *site) savedForGood(b []byte) bool {
	gens, err := s.Backups()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range gens {
		if !g.Foreign {
			continue
		}
		for _, f := range g.Files {
			if data, err := os.ReadFile(filepath.Join(s.backups().Path(g.ID),
				strings.ReplaceAll(f.Name, "/", "%"))); err == nil && bytes.Equal(data, b) {
				return true
			}
		}
	}
	return false
}

func reasons(r Result) string {
	var out []string
	for _, p := range r.Plan.Problems {
		out = append(out, string(p.Reason))
	}
	return strings.Join(out, " ")
}

// The set of the base stanza gets a certificate of our CA for its own key. The stanza's certificate is backed up.
func TestStanzaSet(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "")
	s.now = time.Now()
	if out, err := exec.Command("sh", "../../scripts/stanza.sh", s.cfg.Certs.Dir, name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key, cert := s.read(s.certs("host.key")), s.read(s.certs("host.cert"))
	if r := s.Check(t.Context(), plan.Wish{Once: true}); r.Plan.Facts.Owner != plan.Stanza {
		t.Fatalf("the certificate is %s", r.Plan.Facts.Owner)
	}
	if why := s.complete(s.settle(plan.Wish{})); why != "" {
		t.Error(why)
	}
	if !bytes.Equal(key, s.read(s.certs("host.key"))) {
		t.Error("the key was replaced")
	}
	if !s.savedForGood(cert) {
		t.Error("no copy of the certificate")
	}
	links, _ := filepath.Glob(s.certs("*.0"))
	if len(links) != 1 {
		t.Errorf("hash links: %v", links)
	}
}

// A CA that a person made with the same openssl.cnf looks like the stanza's, but its key is there: it is adopted, not
// treated as a throw-away CA.
func TestHandMadeSet(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	_ = os.RemoveAll(s.cfg.State.Dir)
	was := s.leaf()
	if r := s.settle(plan.Wish{}); r.Plan.Facts.Owner != plan.Ours || !s.leaf().Equal(was) {
		t.Errorf("the certificate is %s", r.Plan.Facts.Owner)
	}
}

// A bought set stays byte for byte, even when it has expired. Its links, dh.param and modes are corrected, its end is
// reported in time, and `renew --force` replaces it with a backup.
func TestForeignSet(t *testing.T) {
	s := newSite(t, "")
	f := makeForeign(t, s.now)
	s.put(f)
	_ = os.Chmod(s.certs("host.key"), 0o644)
	r := s.settle(plan.Wish{})
	if why := s.complete(r); why != "" {
		t.Error(why)
	}
	if st, _ := os.Stat(s.certs("host.key")); st.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v", st.Mode())
	}
	same := func() bool {
		return bytes.Equal(f.key, s.read(s.certs("host.key"))) && bytes.Equal(f.cert, s.read(s.certs("host.cert"))) &&
			bytes.Equal(f.ca, s.read(s.certs("cacert.pem")))
	}
	if !same() {
		t.Fatal("something was changed")
	}
	start := s.now
	for _, days := range []int{200, 340, 364, 400} { // in this order, because the clock never goes back
		s.now = start.AddDate(0, 0, days)
		s.believed()
		r := s.settle(plan.Wish{})
		if got := strings.Contains(reasons(r), "foreign-expiring"); got != (days > 330) || !same() {
			t.Errorf("after %d days: %s", days, reasons(r))
		}
		if bad := days > 363; (r.Plan.Worst() == plan.Error) != bad {
			t.Errorf("after %d days: worst is %v", days, r.Plan.Worst())
		}
	}
	s.now = start
	leaf := pki.Fingerprint(s.leaf())
	if r := s.settle(plan.Wish{Renew: true, From: leaf, TrustClock: true}); r.Plan.Worst() != plan.Error || !same() {
		t.Errorf("renew without --force: %s", reasons(r))
	}
	r = s.settle(plan.Wish{Renew: true, Force: true, TrustClock: true, From: leaf,
		FromKey: pki.KeyFingerprint(s.leaf().PublicKey)})
	if why := s.complete(r); why != "" || r.Plan.Facts.Owner != plan.Ours {
		t.Errorf("renew --force: %s %s", why, r.Plan.Facts.Owner)
	}
	if !s.savedForGood(f.cert) || !s.savedForGood(f.ca) {
		t.Error("no copies")
	}
	// After `restore` the bought certificate is a person's again, and stays.
	gens, _ := s.Backups()
	for _, g := range gens {
		if g.Foreign {
			if _, err := s.Restore(t.Context(), g.ID, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(f.cert, s.read(s.certs("host.cert"))) {
		t.Error("restore did not bring the certificate back")
	}
	if r := s.settle(plan.Wish{}); r.Plan.Facts.Owner != plan.Foreign ||
		!bytes.Equal(f.cert, s.read(s.certs("host.cert"))) {
		t.Errorf("the certificate is %s now", r.Plan.Facts.Owner)
	}
}

// A person copies the key and the certificate one after the other. The daemon waits ten minutes before it repairs the
// set; ensure does not wait.
func TestMismatchWaits(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	f := makeForeign(t, s.now)
	if err := os.WriteFile(s.certs("host.cert"), f.cert, 0o644); err != nil {
		t.Fatal(err)
	}
	for i, min := range []int{0, 5, 9} {
		s.now = s.now.Add(time.Duration(min) * time.Minute / time.Duration(max(i, 1)))
		if _, err := s.Look(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.cert, s.read(s.certs("host.cert"))) {
			t.Fatalf("look %d: it did not wait", i)
		}
	}
	s.now = s.now.Add(10 * time.Minute)
	if _, err := s.Look(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(f.cert, s.read(s.certs("host.cert"))) || !s.savedForGood(f.cert) {
		t.Error("after ten minutes the set is not repaired, or there is no backup")
	}
	if err := os.WriteFile(s.certs("host.cert"), f.cert, 0o644); err != nil {
		t.Fatal(err)
	}
	if s.settle(plan.Wish{}); bytes.Equal(f.cert, s.read(s.certs("host.cert"))) {
		t.Error("ensure waited")
	}
}

// If our host.key contains the certificate too, the key is kept and the certificate is removed from it.
func TestStrip(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	key := s.read(s.certs("host.key"))
	if err := os.WriteFile(s.certs("host.key"), append(bytes.Clone(s.read(s.certs("host.cert"))), key...),
		0o600); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{})
	if !bytes.Equal(key, s.read(s.certs("host.key"))) {
		t.Error("host.key contains more than the key")
	}
}

// Nothing is written through a link that leaves the certs directory.
func TestLinksOutside(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	out := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(out, []byte("hello\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, filepath.Dir(out))
	for _, n := range []string{"host.key", "host.cert", "cacert.pem", "dh.param"} {
		_ = os.Remove(s.certs(n))
		if err := os.Symlink(out, s.certs(n)); err != nil {
			t.Fatal(err)
		}
	}
	r := s.settle(plan.Wish{})
	if snapshot(t, filepath.Dir(out)) != before {
		t.Error("the file outside was touched")
	}
	if why := s.complete(r); why != "" {
		t.Error(why)
	}
}

// A problem that cannot be repaired is reported, and everything else is done.
func TestInTheWay(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	_ = os.Remove(s.certs("dh.param"))
	_ = os.Remove(s.certs("host.cert"))
	if err := os.MkdirAll(s.certs("dh.param/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := s.settle(plan.Wish{})
	if !strings.Contains(reasons(r), "in-the-way") || s.verify() != nil {
		t.Errorf("%s, %v", reasons(r), s.verify())
	}
	if n := durable.Look(s.certs("dh.param/x")); !n.IsDir {
		t.Error("somebody's directory is gone")
	}
}

// With a locked CA a working certificate stays. An interim certificate bridges a missing one, and is replaced when the
// CA can sign again.
func TestLockedCA(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "")
	s.settle(plan.Wish{})
	cakey := filepath.Join(s.cfg.CA.Dir, "cakey.pem")
	open := s.read(cakey)
	if out, err := exec.Command("openssl", "ec", "-in", cakey, "-aes256", "-passout", "pass:x", "-out",
		cakey).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r := s.settle(plan.Wish{}); r.Changed && s.verify() != nil {
		t.Error("a working set was touched")
	}
	_ = os.Remove(s.certs("host.key"))
	r := s.settle(plan.Wish{})
	if r.Plan.Facts.Owner != plan.Interim || !r.Plan.Facts.Offered || r.Plan.Worst() != plan.Error {
		t.Errorf("the certificate is %s, offered %v: %s", r.Plan.Facts.Owner, r.Plan.Facts.Offered, reasons(r))
	}
	if err := os.WriteFile(cakey, open, 0o600); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(2 * time.Hour)
	if why := s.complete(s.settle(plan.Wish{})); why != "" {
		t.Error(why)
	}
}

// A changed name in the configuration is followed at once, a changed system name after a day. An address becomes an
// address in the SAN.
func TestNames(t *testing.T) {
	s := newSite(t, "host: {name: "+name+", altnames: [192.0.2.7, smtp.example.org]}")
	s.settle(plan.Wish{})
	c := s.leaf()
	if len(c.IPAddresses) != 1 || !c.IPAddresses[0].Equal(net.ParseIP("192.0.2.7")) ||
		c.VerifyHostname("smtp.example.org") != nil {
		t.Errorf("SAN %v %v", c.DNSNames, c.IPAddresses)
	}
	s.cfg.Host.AltNames = nil
	s.settle(plan.Wish{})
	if c := s.leaf(); len(c.IPAddresses) != 0 {
		t.Error("a changed configuration was not followed at once")
	}

	s = newSite(t, "")
	s.settle(plan.Wish{})
	// The host name is the system's; the alternative names are configured.
	for _, also := range [][]string{{"smtp.example.org"}, nil} {
		s.cfg.Host.AltNames = also
		if r := s.settle(plan.Wish{}); len(s.leaf().DNSNames) != 1+len(also) ||
			strings.Contains(reasons(r), "name-changed") {
			t.Errorf("altnames %v were not followed at once: %v, %s", also, s.leaf().DNSNames, reasons(r))
		}
	}
	other := "new.example.org"
	s.o.Host = func(context.Context) plan.Host { return plan.Host{System: other} }
	r := s.settle(plan.Wish{})
	if s.leaf().DNSNames[0] != name || !strings.Contains(reasons(r), "name-changed") {
		t.Errorf("a changed system name was followed at once: %v %s", s.leaf().DNSNames, reasons(r))
	}
	s.now = s.now.Add(25 * time.Hour)
	s.settle(plan.Wish{})
	if s.leaf().DNSNames[0] != other {
		t.Error("after a day it was not followed")
	}
	for _, bad := range []string{"", "localhost", "a..b"} {
		s := newSite(t, "")
		s.o.Host = func(context.Context) plan.Host { return plan.Host{System: bad} }
		if r, _ := s.Settle(t.Context(), plan.Wish{Once: true}); !strings.Contains(reasons(r), "name-unusable") {
			t.Errorf("%q: %s", bad, reasons(r))
		}
	}
}

// Our certificate has expired while the host was off, or a person's CA is in the same file: the certificate is renewed,
// and the person's files are kept.
func TestLeftAlone(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	f := makeForeign(t, s.now)
	if err := os.WriteFile(s.certs("cacert.pem"), f.ca, 0o644); err != nil {
		t.Fatal(err)
	}
	s.later(545 * 24 * time.Hour)
	checked := reasons(s.Check(t.Context(), plan.Wish{Once: true}))
	if !strings.Contains(checked, "expired") || !strings.Contains(checked, "cacert-not-issuer") {
		t.Errorf("check names %s", checked)
	}
	if why := s.complete(s.settle(plan.Wish{})); why != "" {
		t.Error(why)
	}
	if !s.savedForGood(f.ca) {
		t.Error("there is no backup of somebody's CA file")
	}
	// A person's CA in the same file as ours stays.
	both := append(s.read(s.certs("cacert.pem")), f.ca...)
	if err := os.WriteFile(s.certs("cacert.pem"), both, 0o644); err != nil {
		t.Fatal(err)
	}
	if s.settle(plan.Wish{}); !bytes.Equal(both, s.read(s.certs("cacert.pem"))) {
		t.Error("a CA that somebody added was removed")
	}
	if links, _ := filepath.Glob(s.certs("*.0")); len(links) != 2 {
		t.Errorf("hash links: %v", links)
	}
}
