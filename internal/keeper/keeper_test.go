package keeper

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

const name = "mail.example.org"

// site is one host's files below a root directory of its own, with a clock that the test sets.
type site struct {
	t    testing.TB
	root string
	now  time.Time
	log  []string
	*Keeper
}

// newSite makes a site without sendmail. yaml is the configuration. Keys are ECDSA unless it says otherwise, because
// these are made fast.
func newSite(t testing.TB, yaml string) *site {
	t.Helper()
	s := &site{t: t, root: t.TempDir(), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	if !strings.Contains(yaml, "key:") {
		yaml += "\nkey: {type: ecdsa-p256}\n"
	}
	cfg, err := config.Parse([]byte(yaml), "mailcertd.yaml", s.root)
	if err != nil {
		t.Fatal(err)
	}
	s.Keeper = New(Options{Config: cfg, Disk: &durable.Disk{}, Now: func() time.Time { return s.now },
		UID:  uint32(os.Getuid()),
		Host: func(context.Context) plan.Host { return plan.Host{System: name} },
		Log: func(e Event) {
			s.log = append(s.log, fmt.Sprint(append([]any{e.Msg}, e.KV...)...))
		}})
	return s
}

// settle is one ensure. It fails the test on an error.
func (s *site) settle(w plan.Wish) Result {
	s.t.Helper()
	w.Once = true
	r, err := s.Settle(context.Background(), w)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.log, "\n"))
	}
	return r
}

// believed makes the state as if the daemon had run until now, so that the clock did not jump.
func (s *site) believed() {
	s.t.Helper()
	st, l := state.Load(s.cfg.State.Dir)
	if !l.Present {
		return
	}
	st.HighWater, st.Clock = s.now.UTC().Truncate(time.Second), state.Clock{}
	if err := state.Save(&durable.Disk{}, s.cfg.State.Dir, st); err != nil {
		s.t.Fatal(err)
	}
}

// later moves the clock on by d without a jump.
func (s *site) later(d time.Duration) {
	s.t.Helper()
	s.now = s.now.Add(d)
	s.believed()
}

func (s *site) certs(name string) string { return filepath.Join(s.cfg.Certs.Dir, name) }

func (s *site) read(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *site) leaf() *x509.Certificate {
	s.t.Helper()
	f := pki.ReadCertFile(s.read(s.certs("host.cert")))
	if f.Err != nil {
		s.t.Fatal(f.Err)
	}
	return f.Certs[0]
}

// verify verifies host.cert with cacert.pem at the site's time.
func (s *site) verify() error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.read(s.certs("cacert.pem")))
	_, err := s.leaf().Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: s.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// complete says what the set lacks; "" means that it is complete.
func (s *site) complete(r Result) string {
	switch {
	case !r.Plan.Empty():
		return "something is left to do: " + r.Plan.Actions[0].Text.Base()
	case !r.Plan.Facts.Offered:
		return fmt.Sprintf("sendmail would refuse it: %+v", r.Plan.Facts.Verdict.Complaints)
	case r.Plan.Worst() == plan.Error:
		return r.Plan.Problems[0].Text
	}
	if err := s.verify(); err != nil {
		return err.Error()
	}
	return ""
}

// snapshot lists every name below a directory with everything that lstat says.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n := durable.Look(p)
		lines = append(lines, fmt.Sprint(p, n.Kind, n.Target, n.Mode, n.Size, n.Ino, n.Modified.UnixNano(),
			n.Changed.UnixNano()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func TestEnsureTwice(t *testing.T) {
	s := newSite(t, "key: {type: rsa-2048}")
	r := s.settle(plan.Wish{})
	if why := s.complete(r); why != "" {
		t.Fatal(why)
	}
	if len(r.Done) == 0 || !r.Changed {
		t.Error("the first ensure did nothing")
	}
	before := snapshot(t, s.root)
	if r := s.settle(plan.Wish{}); r.Changed || snapshot(t, s.root) != before {
		t.Error("a second ensure changed something")
	}
	if c := s.leaf(); c.NotAfter.Sub(s.now) != 365*24*time.Hour || s.now.Sub(c.NotBefore) != time.Hour {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
}

// damages are the states that a file may be in.
var damages = map[string]func(path string, good []byte) error{
	"missing":   func(p string, _ []byte) error { return os.Remove(p) },
	"empty":     func(p string, _ []byte) error { return os.Truncate(p, 0) },
	"truncated": func(p string, b []byte) error { return os.Truncate(p, int64(len(b)/2)) },
	"garbage":   func(p string, _ []byte) error { return os.WriteFile(p, []byte("hello\n"), 0o600) },
	"binary": func(p string, _ []byte) error {
		return os.WriteFile(p, bytes.Repeat([]byte{0x30, 0x82, 1, 2, 0}, 99), 0o600)
	},
	"dangling": func(p string, _ []byte) error {
		if err := os.Remove(p); err != nil {
			return err
		}
		return os.Symlink("nowhere", p)
	},
}

var setFiles = []string{"host.key", "host.cert", "cacert.pem", "dh.param"}

// check reports every state of every file and every subset of missing files, and ensure repairs them. A good key is
// kept.
func TestRepair(t *testing.T) {
	type hit struct{ file, how string }
	var cases [][]hit
	for _, f := range setFiles {
		for how := range damages {
			cases = append(cases, []hit{{f, how}})
		}
	}
	for bits := 1; bits < 1<<len(setFiles); bits++ {
		for _, how := range []string{"missing", "empty", "garbage"} {
			var c []hit
			for i, f := range setFiles {
				if bits>>i&1 == 1 {
					c = append(c, hit{f, how})
				}
			}
			cases = append(cases, c)
		}
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.settle(plan.Wish{})
			key := s.read(s.certs("host.key"))
			keyGood := true
			for _, h := range c {
				if err := damages[h.how](s.certs(h.file), s.read(s.certs(h.file))); err != nil {
					t.Fatal(err)
				}
				keyGood = keyGood && h.file != "host.key"
			}
			named := map[string]bool{}
			for _, p := range s.Check(context.Background(), plan.Wish{Once: true}).Plan.Problems {
				named[filepath.Base(p.Path)] = true
			}
			for _, h := range c {
				if !named[h.file] {
					t.Errorf("check does not name %s", h.file)
				}
			}
			r := s.settle(plan.Wish{})
			if why := s.complete(r); why != "" {
				t.Error(why)
			}
			if same := bytes.Equal(key, s.read(s.certs("host.key"))); keyGood != same {
				t.Errorf("the key was good: %v, is the same: %v", keyGood, same)
			}
			before := snapshot(t, s.root)
			if r := s.settle(plan.Wish{}); r.Changed || snapshot(t, s.root) != before {
				t.Error("a second ensure changed something")
			}
		})
	}
}

// A deleted certificate comes back from newcerts; no new one is issued.
func TestCertificateComesBack(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	was := s.leaf()
	if err := os.RemoveAll(s.cfg.State.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.certs("host.cert")); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{})
	if !s.leaf().Equal(was) {
		t.Error("another certificate was issued although the old one is in newcerts")
	}
}

// Whole directories are deleted: the certs directory is made again, but no new CA is made where one was before.
func TestDirectoriesGone(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	if err := os.RemoveAll(s.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if why := s.complete(s.settle(plan.Wish{})); why != "" {
		t.Error(why)
	}
	if err := os.RemoveAll(s.cfg.CA.Dir); err != nil {
		t.Fatal(err)
	}
	r := s.settle(plan.Wish{})
	if r.Changed || r.Plan.Worst() != plan.Error || r.Plan.Problems[0].Reason != plan.CAMissing {
		t.Errorf("changed %v, problems %+v", r.Changed, r.Plan.Problems)
	}
	if _, err := os.Stat(s.cfg.CA.Dir); err == nil {
		t.Error("a new CA was made without being asked for")
	}
	if s.settle(plan.Wish{MakeCA: true}); s.verify() != nil {
		t.Errorf("after ca init: %v", s.verify())
	}
}
