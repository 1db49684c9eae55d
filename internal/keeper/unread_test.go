package keeper

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// install --dry-run makes nothing, not even the certs directory, which is made to hold a lock on it.
func TestInstallDryRunMakesNothing(t *testing.T) {
	s := newSite(t, "issuer: none")
	good := purchased(t, s.now, nil)
	full := good.leaf.keyPEM(t) + good.leaf.pem() + good.middle.pem() + good.root.pem()
	if err := os.RemoveAll(s.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.InstallFile(context.Background(),
		Incoming{Data: []byte(full), Path: "carried.pem", DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.cfg.Certs.Dir); !os.IsNotExist(err) {
		t.Errorf("the certs directory: %v", err)
	}
}

// If the certificate of an older generation cannot be read once, nothing is removed from cacert.pem.
func TestUnreadGenerationStaysTrusted(t *testing.T) {
	s := newSite(t, "")
	s.settle(plan.Wish{})
	o := s.CA.Options(s.observer.observe(context.Background()))
	_, err := ca.StartNext(context.Background(), &durable.Disk{}, o, rand.Reader, s.now)
	if err == nil {
		_, err = ca.Promote(context.Background(), &durable.Disk{}, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{})
	want, err := os.ReadFile(s.certs(certdir.CAName))
	if err != nil || bytes.Count(want, []byte("BEGIN CERT")) != 2 {
		t.Fatalf("%v\n%s", err, want)
	}
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "open" && strings.HasSuffix(path, "gen-1/cacert.pem") {
			return syscall.EIO
		}
		return nil
	})
	defer undo()
	_, _ = s.Settle(context.Background(), plan.Wish{Once: true})
	if got, _ := os.ReadFile(s.certs(certdir.CAName)); !bytes.Equal(got, want) {
		t.Errorf("cacert.pem became\n%s", got)
	}
}

// A member cannot read which CA certificates it accepted. It accepts none by itself, asks nobody, replaces nothing, and
// keeps the accepted ones when a person brings another one.
func TestUnreadAcceptance(t *testing.T) { // not parallel, because all tests share the hook that makes reads fail
	f := newFamily(t, "", "", "a.example.org")
	m := f.members["a.example.org"]
	f.look(m)
	f.everybody("at first")
	want, key := m.read(m.candidates.path(acceptedName)), m.leaf()
	other := bundle(caCert(t, "Other", false))
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "open" && strings.HasSuffix(path, candidatesDir+"/"+acceptedName) {
			return syscall.EIO
		}
		return nil
	})
	m.now = m.now.Add(25 * time.Hour) // the daily question is due
	r, err := m.Settle(context.Background(), plan.Wish{Once: true})
	_, _, ierr := m.InstallFile(context.Background(), Incoming{Data: other, Path: "ca.pem"})
	undo()
	if err != nil || r.Plan.Ask != nil || len(r.Done) > 0 || !reported(r.Plan, plan.Unreadable) {
		t.Errorf("%v, asks %+v, did %+v\n%+v", err, r.Plan.Ask, r.Done, r.Plan.Problems)
	}
	if !errors.Is(ierr, syscall.EIO) {
		t.Errorf("installed: %v", ierr)
	}
	if got := m.read(m.candidates.path(acceptedName)); !bytes.Equal(got, want) || !m.leaf().Equal(key) {
		t.Errorf("accepted is now\n%s", got)
	}
}

// purge removes nothing when it cannot read the state: it would treat its own key as a person's file, and remove the
// CA.
func TestPurgeWithoutState(t *testing.T) { // not parallel, because all tests share the hook that makes reads fail
	s := newSite(t, "")
	s.settle(plan.Wish{})
	first := true
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if strings.HasSuffix(path, "/state.json") && first {
			first = false
			return syscall.EIO
		}
		return nil
	})
	defer undo()
	list, err := s.PurgeList(context.Background())
	if !errors.Is(err, syscall.EIO) || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
