package keeper

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// caCert makes a self-signed certificate: of a CA or, with v1, one without the CA extension, as the oldest public roots
// are.
func caCert(t testing.TB, cn string, v1 bool) *x509.Certificate {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, IsCA: !v1,
		BasicConstraintsValid: !v1,
		NotBefore:             time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(9, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bundle(certs ...*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, "# "+c.Subject.CommonName+"\n"...)
		b = append(b, pki.EncodeCertificate(c.Raw)...)
	}
	return b
}

func (s *site) write(path string, data []byte) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// caFile returns the file in trust/ that contains only that CA.
func (s *site) caFile(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return s.certs("trust/ca-" + hex.EncodeToString(sum[:])[:32] + ".pem")
}

// trusts says whether openssl finds that CA in the certs directory by its hash link. It fails the test if the file, the
// link and openssl do not agree.
func (s *site) trusts(c *x509.Certificate) bool {
	s.t.Helper()
	self := filepath.Join(s.t.TempDir(), "ca.pem")
	s.write(self, pki.EncodeCertificate(c.Raw))
	out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-partial_chain", "-no_check_time",
		"-CApath", s.certs(""), self).CombinedOutput()
	found := err == nil && strings.Contains(string(out), "OK")
	data, err := os.ReadFile(s.caFile(c))
	file := err == nil && bytes.Equal(data, pki.EncodeCertificate(c.Raw))
	linked := false
	for n := range 9 {
		text, _ := os.Readlink(s.certs(pki.HashName(c.RawSubject, n)))
		linked = linked || filepath.Join(s.certs(""), text) == s.caFile(c)
	}
	if found != file || found != linked {
		s.t.Errorf("%s: openssl finds it: %v, file: %v, link: %v\n%s", c.Subject.CommonName, found, file, linked, out)
	}
	if st, err := os.Stat(s.caFile(c)); err == nil && st.Mode().Perm() != 0o644 {
		s.t.Errorf("mode %v", st.Mode())
	}
	return found
}

func (s *site) expect(when string, yes, no []*x509.Certificate) {
	s.t.Helper()
	for _, c := range yes {
		if !s.trusts(c) {
			s.t.Errorf("%s: %s is not trusted", when, c.Subject.CommonName)
		}
	}
	for _, c := range no {
		if s.trusts(c) {
			s.t.Errorf("%s: %s is trusted", when, c.Subject.CommonName)
		}
	}
}

// configure changes the configuration of a site.
func (s *site) configure(yaml string) {
	s.t.Helper()
	cfg, err := config.Parse([]byte(yaml+"\nkey: {type: ecdsa-p256}\n"), "mailcertd.yaml", s.root)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cfg = cfg
}

type cas = []*x509.Certificate

// CAs come and go with the bundle and the configuration. cacert.pem does not grow, sendmail has nothing to pick up, and
// files that a person put into trust/ stay.
func TestTrustFollowsBundle(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "")
	s.settle(plan.Wish{})
	a, old, b, twin, own := caCert(t, "A", false), caCert(t, "Old", true), caCert(t, "B", false), caCert(t, "A", false),
		caCert(t, "Own", false)
	s.write(s.certs("trust/own.pem"), bundle(own))
	leaf := s.leaf()
	s.write(s.root+"/etc/b.crt", bundle(a, old, a, leaf))
	s.write(s.root+"/etc/dir/README", []byte("hello\n"))
	s.write(s.root+"/etc/dir/b.pem", bundle(b))
	if err := os.Symlink("b.pem", s.root+"/etc/dir/12345678.0"); err != nil {
		t.Fatal(err)
	}
	cacert := s.read(s.certs("cacert.pem"))
	s.configure("trust: [/etc/b.crt, /etc/dir]")
	r := s.settle(plan.Wish{})
	for _, act := range r.Done {
		if act.Change != nil && act.Change.Pickup {
			t.Errorf("a HUP for hash links: %s", act.Text.Did())
		}
	}
	if why := s.complete(r); why != "" || len(r.Done) != 1 ||
		!strings.Contains(r.Done[0].Text.Did(), "3 CAs in trust") {
		t.Errorf("%s %v", why, r.Done)
	}
	if files, _ := filepath.Glob(s.certs("trust/*")); len(files) != 4 {
		t.Errorf("files: %v", files)
	}
	s.expect("first", cas{a, old, b}, cas{twin})
	before := snapshot(t, s.root)
	if r := s.settle(plan.Wish{}); r.Changed || snapshot(t, s.root) != before {
		t.Error("a second ensure changed something")
	}
	s.write(s.root+"/etc/b.crt", bundle(twin, a))
	s.settle(plan.Wish{})
	s.expect("another bundle", cas{a, b, twin}, cas{old})
	s.write(s.root+"/etc/b.crt", bundle(twin))
	s.settle(plan.Wish{})
	s.expect("the first of a name goes", cas{b, twin}, cas{a, old})

	s.write(s.caFile(b), []byte("damaged\n"))
	s.settle(plan.Wish{})
	s.expect("damaged", cas{b, twin}, nil)
	if !s.savedForGood([]byte("damaged\n")) {
		t.Error("there is no backup of what somebody wrote there")
	}
	mine := append([]byte("# mine\n"), bundle(b)...)
	s.write(s.caFile(b), mine)
	if r := s.settle(plan.Wish{}); r.Changed {
		t.Errorf("a person's file with the same CA was touched: %v", r.Done)
	}
	s.configure("")
	s.settle(plan.Wish{})
	s.expect("no trust line", nil, cas{a, old, twin})
	if !bytes.Equal(mine, s.read(s.caFile(b))) {
		t.Error("a person's file is gone")
	}
	if text, _ := os.Readlink(s.certs(pki.HashName(own.RawSubject, 0))); text != "trust/own.pem" {
		t.Errorf("a person's CA has lost its link: %q", text)
	}
	if !bytes.Equal(cacert, s.read(s.certs("cacert.pem"))) {
		t.Error("cacert.pem has changed")
	}
	for id, o := range r.Plan.State.Ours {
		if o.Kind == "trust" {
			t.Errorf("the bounded list of digests holds %s", id)
		}
	}
}

// A bundle that cannot be read removes no trust, and one that can be read still adds its CAs.
func TestTrustStays(t *testing.T) {
	openssltest.Need(t)
	a, b, c := caCert(t, "A", false), caCert(t, "B", false), caCert(t, "C", false)
	for name, x := range map[string]struct {
		damage func(s *site) error
		reason plan.Reason
		mended bool // the bundle is not damaged, so the CA is removed
	}{
		"missing": {func(s *site) error { return os.Remove(s.root + "/etc/b.crt") }, plan.TrustUnreadable, false},
		"empty": {func(s *site) error { return os.Truncate(s.root+"/etc/b.crt", 0) },
			plan.TrustUnreadable, false},
		"cut short": {func(s *site) error { return os.Truncate(s.root+"/etc/b.crt", 700) },
			plan.TrustUnreadable, false},
		"garbage": {func(s *site) error { return os.WriteFile(s.root+"/etc/b.crt", []byte("hello"), 0o644) },
			plan.TrustUnreadable, false},
		"no CA in it": {func(s *site) error {
			return os.WriteFile(s.root+"/etc/b.crt", s.read(s.certs("host.cert")), 0o644)
		}, plan.TrustEmpty, false},
		"a FIFO": {func(s *site) error {
			return exec.Command("sh", "-c", "cd $0/etc; rm b.crt; mkfifo b.crt", s.root).Run()
		}, plan.TrustUnreadable, false},
		"empty folder": {func(s *site) error {
			return exec.Command("sh", "-c", "cd $0/etc; rm b.crt; mkdir b.crt", s.root).Run()
		}, plan.TrustEmpty, false},
		"a dangling link in the folder": {func(s *site) error {
			return exec.Command("sh", "-c", "cd $0/etc; rm b.crt; ln -s gone dir/x.0; cp dir/c.pem b.crt", s.root).Run()
		}, plan.TrustUnreadable, false},
		"half a file in the folder": {func(s *site) error {
			return exec.Command("sh", "-c", "cd $0/etc; head -c 300 b.crt >dir/b.pem; cp dir/c.pem b.crt", s.root).Run()
		}, plan.TrustUnreadable, false},
		"another content": {func(s *site) error {
			return os.WriteFile(s.root+"/etc/b.crt", bundle(c), 0o644)
		}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "trust: [/etc/b.crt, /etc/dir]")
			s.write(s.root+"/etc/b.crt", bundle(a, b))
			s.write(s.root+"/etc/dir/c.pem", bundle(c))
			s.settle(plan.Wish{})
			s.expect("at first", cas{a, b, c}, nil)
			if err := x.damage(s); err != nil {
				t.Fatal(err)
			}
			late := caCert(t, "Late", false)
			s.write(s.root+"/etc/dir/late.pem", bundle(late))
			r := s.settle(plan.Wish{})
			if x.mended {
				s.expect(name, cas{c, late}, cas{a, b})
				return
			}
			s.expect(name, cas{a, b, c, late}, nil)
			if !strings.Contains(" "+reasons(r)+" ", " "+string(x.reason)+" ") ||
				(r.Plan.Worst() != plan.Error) != strings.Contains(name, "dangling") {
				t.Errorf("reported: %s", reasons(r))
			}
			s.write(s.root+"/etc/b2.crt", bundle(a))
			s.configure("trust: [/etc/b2.crt]")
			s.settle(plan.Wish{})
			s.expect("mended", cas{a}, cas{b, c, late})
		})
	}
}

// `system` means the first of the base system's stores that exists, below --root.
func TestTrustSystem(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "trust: [system]")
	if r := s.settle(plan.Wish{}); !strings.Contains(reasons(r), "trust-unreadable") {
		t.Errorf("none exists: %s", reasons(r))
	}
	a, b, c := caCert(t, "A", false), caCert(t, "B", false), caCert(t, "C", false)
	all := cas{a, b, c}
	// From the last choice to the first.
	for i, path := range []string{"/etc/ssl/cert.pem", "/usr/share/certs/trusted/c.pem", "/etc/ssl/certs/0a.0"} {
		s.write(s.root+path, bundle(all[i]))
		if r := s.settle(plan.Wish{}); strings.Contains(reasons(r), "trust-") {
			t.Errorf("%s: %s", path, reasons(r))
		}
		for j := range all {
			if s.trusts(all[j]) != (i == j) {
				t.Errorf("%s: trusts %d: %v", path, j, i != j)
			}
		}
	}
	want := []string{s.root + "/etc/ssl/certs", s.root + "/usr/share/certs/trusted", s.root + "/etc/ssl/cert.pem"}
	if got := TrustPaths(s.cfg); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("watched: %v", got)
	}
}

// Many hosts have cacert.pem as a link to a public bundle. It is never written through or replaced, every CA in it is
// linked, and ours is added beside it.
func TestTrustLinkedBundle(t *testing.T) {
	openssltest.Need(t)
	data, err := os.ReadFile(publicCAs)
	if err != nil {
		t.Skip(err)
	}
	s := newSite(t, "")
	s.settle(plan.Wish{})
	ours := s.read(s.certs("cacert.pem"))
	out := filepath.Join(t.TempDir(), "ca-certificates.crt")
	s.write(out, data)
	_ = os.Remove(s.certs("cacert.pem"))
	if err := os.Symlink(out, s.certs("cacert.pem")); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, filepath.Dir(out))
	s.settle(plan.Wish{})
	if snapshot(t, filepath.Dir(out)) != before {
		t.Error("the bundle was touched")
	}
	if text, _ := os.Readlink(s.certs("cacert.pem")); text != out {
		t.Errorf("cacert.pem was replaced: %q", text)
	}
	for _, c := range append(pki.ReadCertFile(data).Certs, pki.ReadCertFile(ours).Certs...) {
		if _, err := os.Stat(s.certs(pki.HashName(c.RawSubject, 0))); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
	if out, err := exec.Command("openssl", "verify", "-no-CAfile", "-no-CAstore", "-no_check_time", "-CApath",
		s.certs(""), s.certs("host.cert")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if r := s.settle(plan.Wish{}); r.Changed {
		t.Errorf("not done: %v", r.Done)
	}
}

// The daemon removes nothing while a bundle is being written.
func TestTrustSettles(t *testing.T) {
	openssltest.Need(t)
	s := newSite(t, "trust: [/etc/dir]")
	a, b := caCert(t, "A", false), caCert(t, "B", false)
	s.write(s.root+"/etc/dir/a.pem", bundle(a))
	s.write(s.root+"/etc/dir/b.pem", bundle(b))
	s.now = time.Now()
	s.settle(plan.Wish{})
	if err := os.Remove(s.root + "/etc/dir/b.pem"); err != nil {
		t.Fatal(err)
	}
	st, _ := os.Stat(s.root + "/etc/dir")
	s.now = st.ModTime().Add(3 * time.Second)
	next, err := s.Look(t.Context(), "test")
	if err != nil || !next.Equal(st.ModTime().Add(5*time.Second)) {
		t.Errorf("looks again at %v, changed at %v: %v", next, st.ModTime(), err)
	}
	s.expect("after three seconds", cas{a, b}, nil)
	s.now = next
	if _, err := s.Look(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	s.expect("after five", cas{a}, cas{b})
}

// If trust/ is a link, nothing is written through it, and everything else is done.
func TestTrustBlocked(t *testing.T) {
	s := newSite(t, "trust: [/b.crt]")
	s.write(s.root+"/b.crt", bundle(caCert(t, "A", false)))
	out := t.TempDir()
	if err := os.MkdirAll(s.certs(""), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, s.certs("trust")); err != nil {
		t.Fatal(err)
	}
	r := s.settle(plan.Wish{})
	if files, _ := os.ReadDir(out); len(files) > 0 || s.verify() != nil || !strings.Contains(reasons(r), "in-the-way") {
		t.Errorf("%d files, %v, %s", len(files), s.verify(), reasons(r))
	}
}

// purge removes our files in trust/ and nothing else.
func TestTrustPurged(t *testing.T) {
	s := newSite(t, "trust: [/b.crt]")
	a := caCert(t, "A", false)
	s.write(s.root+"/b.crt", bundle(a))
	s.settle(plan.Wish{})
	s.write(s.certs("trust/own.pem"), bundle(caCert(t, "Own", false)))
	if err := s.Purge(t.Context(), agreed); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(s.certs("trust/*")); len(files) != 1 || filepath.Base(files[0]) != "own.pem" {
		t.Errorf("left: %v", files)
	}
}

// All public CAs are linked in one transaction. BenchmarkLookWithPublicCAs measures what a later look costs.
func TestTrustPublicCAs(t *testing.T) {
	s := trusting(t)
	want := map[string]bool{}
	for _, c := range pki.ReadCertFile(s.read(publicCAs)).Certs {
		want[filepath.Base(s.caFile(c))] = true
	}
	files, _ := filepath.Glob(s.certs("trust/*"))
	if len(files) != len(want) {
		t.Errorf("%d files for %d CAs", len(files), len(want))
	}
}
