package keeper

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// listen collects the messages of the log.
func (s *site) listen() *[]string {
	var said []string
	s.o.Log = func(e Event) { said = append(said, e.Msg) }
	return &said
}

func begins(lines []string, with string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, with) })
}

// The log tells in the past tense what was done, a terminal shows what is being done, and a failed step is not called
// done.
func TestStepsAreToldInTheirForm(t *testing.T) {
	s := newSite(t, "")
	said := s.listen()
	var shown []string
	s.o.Progress = func(what string, _ time.Duration) func() {
		shown = append(shown, what)
		return func() {}
	}
	s.settle(plan.Wish{})
	for _, want := range []string{"created the private CA in ", "made a new ", "issued a certificate for ",
		"installed host.key, "} {
		if !begins(*said, want) {
			t.Errorf("the log does not say %q:\n%s", want, strings.Join(*said, "\n"))
		}
	}
	signed := 0
	for _, line := range *said {
		if strings.Contains(line, "issued") {
			signed++
		}
	}
	if signed != 1 {
		t.Errorf("one signature has %d lines:\n%s", signed, strings.Join(*said, "\n"))
	}
	for _, wrong := range []string{"create ", "make ", "issue ", "install ", "creating ", "installing "} {
		if begins(*said, wrong) {
			t.Errorf("the log says %q:\n%s", wrong, strings.Join(*said, "\n"))
		}
	}
	if !begins(shown, "creating the private CA in ") {
		t.Errorf("the terminal shows %q", shown)
	}

	if err := os.Remove(filepath.Join(s.cfg.Certs.Dir, "dh.param")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, tells, never string }{
		"before its commit": {"journal", "could not install dh.param", "install"},
		"after it":          {"dh.param", "installing dh.param", "installed"},
	} {
		said = s.listen()
		s.o.Disk.Before = func(p durable.Point) error {
			if p.Op == "rename" && filepath.Base(p.Path) == c.file {
				return syscall.EIO
			}
			return nil
		}
		r, err := s.Settle(context.Background(), plan.Wish{Once: true})
		if err == nil || !strings.Contains(err.Error(), "could not ") {
			t.Errorf("%s: %v", name, err)
		}
		for _, act := range r.Done {
			if act.Kind == plan.Install {
				t.Errorf("%s: %s", name, act.Text.Did())
			}
		}
		if !begins(*said, c.tells) || begins(*said, c.never) {
			t.Errorf("%s: the log says\n%s", name, strings.Join(*said, "\n"))
		}
		s.o.Disk.Before = nil
		said = s.listen()
		s.settle(plan.Wish{Once: true})
		if name == "after it" && !begins(*said, "finished an interrupted change") {
			t.Errorf("%s: then the log says\n%s", name, strings.Join(*said, "\n"))
		}
		if err := os.Remove(filepath.Join(s.cfg.Certs.Dir, "dh.param")); err != nil {
			t.Fatal(err)
		}
	}
}

// If a certificate of this run could not be used, no other one is issued, and the log does not say that one was.
func TestUselessCertificateIsNotIssuedAgain(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	r := s.Check(context.Background(), plan.Wish{Once: true, Renew: true, From: pki.Fingerprint(s.leaf())})
	said := s.listen()
	s.run.obtained[r.Plan.Actions[0].Pair.Name] = true
	done, err := s.applier.apply(context.Background(), r.Observed, r.Plan)
	if err != nil || len(done) != 0 {
		t.Errorf("%v, %+v", err, done)
	}
	if begins(*said, "issued ") || !begins(*said, "a signed certificate could not be used") {
		t.Errorf("the log says\n%s", strings.Join(*said, "\n"))
	}
}
