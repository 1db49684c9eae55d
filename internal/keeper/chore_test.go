package keeper

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Every kind of action has a class.
func TestClasses(t *testing.T) {
	for kind, want := range map[plan.Kind]plan.Class{
		plan.Recover: plan.Essential, plan.MakeDir: plan.Essential, plan.Chmod: plan.Essential,
		plan.Chown:  plan.Essential,
		plan.InitCA: plan.Essential, plan.AcceptCA: plan.Essential, plan.StageKey: plan.Essential,
		plan.Obtain:  plan.Essential,
		plan.Install: plan.Essential, plan.ReconcileCA: plan.Chore, plan.NextCA: plan.Chore, plan.PromoteCA: plan.Chore,
		plan.PruneCA: plan.Chore, plan.WriteCRL: plan.Chore, plan.MakeInbox: plan.Chore, plan.Answer: plan.Chore,
		plan.Unstage: plan.Chore, plan.PruneBackup: plan.Chore, plan.DeleteOldKey: plan.Chore, plan.Clear: plan.Chore,
		plan.MoveBackups: plan.Chore,
	} {
		if got := (plan.Action{Kind: kind}).Class(); got != want {
			t.Errorf("%s is %s", kind, got)
		}
	}
}

// A chore that fails holds nothing up: host.cert comes back, the failure is logged once, and the next attempt waits.
func TestChoreStandsAside(t *testing.T) {
	fails := func(part string) func(durable.Point) error {
		return func(p durable.Point) error {
			if strings.Contains(p.Path, part) {
				return &os.PathError{Op: p.Op, Path: p.Path, Err: syscall.EIO}
			}
			return nil
		}
	}
	for _, c := range []struct {
		name, yaml string
		spoil      func(t *testing.T, s *site)
		silent     bool // nothing fails, because this thing is left alone
	}{
		{"crl.pem is a directory", "crl: {install: true}", func(t *testing.T, s *site) {
			path := filepath.Join(s.cfg.CA.Dir, "crl.pem")
			if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o755)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the CRL cannot be written", "crl: {install: true}", func(t *testing.T, s *site) {
			if err := os.Remove(filepath.Join(s.cfg.CA.Dir, "crl.pem")); err != nil {
				t.Fatal(err)
			}
			s.o.Disk.Before = fails("CA/crl")
		}, false},
		{"somebody's file in gen-1", "", func(t *testing.T, s *site) {
			rollover(t, s)
			s.write(filepath.Join(s.cfg.CA.Dir, "gen-1", "README"), []byte("mine"))
			s.later(2 * 365 * 24 * time.Hour)
		}, true},
		{"gen-1 cannot be removed", "", func(t *testing.T, s *site) {
			rollover(t, s)
			s.later(2 * 365 * 24 * time.Hour)
			s.o.Disk.Before = fails("CA/gen-1")
		}, false},
		{"gen-1 has lost its key, and the CRL is due", "crl: {install: true}", func(t *testing.T, s *site) {
			rollover(t, s)
			if err := os.Remove(filepath.Join(s.cfg.CA.Dir, "gen-1", "cakey.pem")); err != nil {
				t.Fatal(err)
			}
			s.later(25 * 24 * time.Hour)
		}, true},
		{"the trust folder cannot be written", "trust: [/b.crt]", func(t *testing.T, s *site) {
			s.write(s.root+"/b.crt", bundle(caCert(t, "B", false)))
			s.o.Disk.Before = fails("/trust")
		}, false},
		{"old backups cannot be removed", "state: {keep: 1}", func(t *testing.T, s *site) {
			for range 4 {
				s.now = s.now.Add(time.Hour)
				leaf := pki.Fingerprint(s.leaf())
				s.o.Disk.Before = fails("/remove-nothing")
				s.settle(plan.Wish{Renew: true, From: leaf})
			}
			s.o.Disk.Before = func(p durable.Point) error {
				if p.Op == "remove" && strings.Contains(p.Path, "/backups/") {
					return syscall.EIO
				}
				return nil
			}
			s.o.Config.State.Keep, s.cfg.State.Keep = 0, 0
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.yaml)
			s.settle(plan.Wish{})
			c.spoil(t, s)
			if err := os.Remove(s.certs("host.cert")); err != nil {
				t.Fatal(err)
			}
			s.log = nil
			for range 20 { // sweeps and file events within a few seconds
				s.now = s.now.Add(100 * time.Millisecond)
				next, err := s.Look(context.Background(), "sweep")
				if err != nil {
					t.Fatal(err)
				}
				if d := next.Sub(s.now); !next.IsZero() && d < time.Second {
					t.Errorf("the next look is in %s", d)
				}
			}
			if err := s.verify(); err != nil {
				t.Error(err)
			}
			told := 0
			for _, line := range s.log {
				if strings.HasPrefix(line, "could not ") {
					told++
				}
			}
			if told > 1 || c.silent == (told > 0) {
				t.Errorf("logged %d times:\n%s", told, strings.Join(s.log, "\n"))
			}
			if c.silent {
				return
			}
			p := s.Check(context.Background(), plan.Wish{}).Plan
			if !reported(p, plan.StepFailed) || p.Worst() == plan.Error {
				t.Errorf("%+v", p.Problems)
			}
			// The backoff applies to the daemon and not to a person. It ends when its cause has been corrected.
			s.log = nil
			s.settle(plan.Wish{})
			if !strings.Contains(strings.Join(s.log, "\n"), "could not ") {
				t.Error("a person's ensure does not try")
			}
		})
	}
}

// rollover puts a second generation of the CA into force.
func rollover(t *testing.T, s *site) {
	t.Helper()
	for range 2 {
		current := s.Check(context.Background(), plan.Wish{}).Observed.CA.Current.Cert
		s.settle(plan.Wish{Rollover: true, RolloverFrom: pki.Fingerprint(current), Promote: true})
		if _, err := os.Stat(filepath.Join(s.cfg.CA.Dir, "gen-1")); err == nil {
			return
		}
	}
	t.Fatal("there is no gen-1")
}

// reported says that a plan has a problem with that reason.
func reported(p plan.Plan, r plan.Reason) bool {
	for _, pr := range p.Problems {
		if pr.Reason == r {
			return true
		}
	}
	return false
}

// A CRL that cannot be written uses up no CRL number.
func TestCRLNumberStays(t *testing.T) {
	s := newSite(t, "crl: {install: true}")
	s.settle(plan.Wish{})
	path := filepath.Join(s.cfg.CA.Dir, "crl.pem")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	before := string(s.read(filepath.Join(s.cfg.CA.Dir, "crlnumber")))
	for range 5 {
		s.settle(plan.Wish{})
	}
	if after := string(s.read(filepath.Join(s.cfg.CA.Dir, "crlnumber"))); after != before {
		t.Errorf("crlnumber changed from %q to %q", before, after)
	}
}

// A CA made by hand may not sign CRLs, and has a revoked row. Its host gets a certificate nevertheless.
func TestCAWithoutCRLSign(t *testing.T) {
	s := newSite(t, "")
	dir := s.cfg.CA.Dir
	if err := os.MkdirAll(filepath.Join(dir, "newcerts"), 0o700); err != nil {
		t.Fatal(err)
	}
	openssltest.Need(t)
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
		filepath.Join(dir, "cakey.pem"),
		"-out", filepath.Join(dir, "cacert.pem"), "-subj", "/CN=by hand", "-days", "3000", "-addext",
		"keyUsage=critical,keyCertSign",
		"-addext", "basicConstraints=critical,CA:TRUE").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.now = time.Now()
	s.write(filepath.Join(dir, "index.txt"),
		[]byte("R\t360101000000Z\t260101000000Z\t05\tunknown\t/CN=gone.example.org\n"))
	s.write(filepath.Join(dir, "serial"), []byte("06\n"))
	s.settle(plan.Wish{})
	if err := s.verify(); err != nil {
		t.Error(err)
	}
	s.log = nil
	for range 5 {
		if _, err := s.Look(context.Background(), "sweep"); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.log) > 10 || strings.Contains(strings.Join(s.log, "\n"), "could not") {
		t.Error(strings.Join(s.log, "\n"))
	}
}

// A state that cannot be written is reported by every look until it can be written. An error stops a choice or request
// of a person then, because the next ensure would undo it.
func TestStateCannotBeWritten(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	s.o.Disk.Before = func(p durable.Point) error {
		if strings.HasPrefix(p.Path, s.cfg.State.Dir) {
			return syscall.ENOSPC
		}
		return nil
	}
	if err := s.ChooseGroup(t.Context(), "ffdhe4096"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a choice of parameters: %v", err)
	}
	if _, err := s.Request(t.Context(), certdir.Host, true); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a request over a new key: %v", err)
	}
	r := s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
	if why := s.complete(r); why != "" {
		t.Error(why)
	}
	if r = s.Check(t.Context(), plan.Wish{}); !reported(r.Plan, plan.StateUnwritable) {
		t.Errorf("not reported: %s", reasons(r))
	}
	s.o.Disk.Before = nil
	s.settle(plan.Wish{Renew: true, From: pki.Fingerprint(s.leaf())})
	if r = s.Check(t.Context(), plan.Wish{}); reported(r.Plan, plan.StateUnwritable) {
		t.Errorf("still reported: %s", reasons(r))
	}
}
