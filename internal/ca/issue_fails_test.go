package ca

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// An error before the certificate exists leaves nothing behind. An error after that says that it exists, and the same
// request completes it.
func TestIssueFails(t *testing.T) {
	drawn(t)
	for _, c := range []struct {
		op, part string
		made     bool
	}{
		{"write", NewCertsDir, false}, {"rename", NewCertsDir, false}, {"syncdir", NewCertsDir, true},
		{"append", indexName, true}, {"sync", indexName, true},
	} {
		o, d := made(t)
		issue(t, d, o, time.Now()) // the database has no faults then
		d.Before = func(p durable.Point) error {
			if p.Op == c.op && strings.Contains(p.Path, c.part) {
				return syscall.EIO
			}
			return nil
		}
		req := request(t)
		_, err := Issue(context.Background(), d, o, req, rand.Reader, time.Now())
		if !errors.Is(err, syscall.EIO) || errors.Is(err, ErrMade) != c.made {
			t.Errorf("%s %s: %v, want made %t", c.op, c.part, err, c.made)
		}
		d.Before = nil
		if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
			t.Fatal(err)
		}
		obs := Observe(o.Dir, Filter{Name: o.Host})
		found := false
		for _, is := range obs.Issued {
			found = found || pki.SamePublicKey(is.Cert.PublicKey, req.Public)
		}
		if len(obs.Faults) > 0 || found != c.made {
			t.Errorf("%s %s: found %t, %v", c.op, c.part, found, obs.Faults)
		}
	}
}

// If a CRL cannot be read once, no new CRL is made without its entries, and no valid row is added for a certificate
// that it may contain.
func TestUnreadCRL(t *testing.T) {
	o, d := made(t)
	issue(t, d, o, time.Now())
	issue(t, d, o, time.Now())
	withCRL(t, d, o, "keyCompromise", 1)
	index := filepath.Join(o.Dir, indexName)
	rows, err := os.ReadFile(index)
	if err == nil {
		// The row of the revoked certificate is gone.
		err = os.WriteFile(index, []byte(strings.SplitAfter(string(rows), "\n")[1]), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	list, _ := os.ReadFile(filepath.Join(o.Dir, CRLName))
	undo := durable.TestOnlyBeforeRead(func(op, path string) error {
		if op == "open" && filepath.Base(path) == CRLName {
			return syscall.EIO
		}
		return nil
	})
	_, _ = Reconcile(context.Background(), d, o.Dir, nil)
	got := WriteCRL(context.Background(), d, o, rand.Reader, time.Now())
	undo()
	if !errors.Is(got, syscall.EIO) {
		t.Errorf("a CRL was made: %v", got)
	}
	if now, _ := os.ReadFile(filepath.Join(o.Dir, CRLName)); string(now) != string(list) {
		t.Error("the CRL was replaced")
	}
	if _, err := Reconcile(context.Background(), d, o.Dir, nil); err != nil {
		t.Fatal(err)
	}
	if e := Observe(o.Dir, Filter{}).index(); len(e) != 2 || e[1].Status != Revoked {
		t.Errorf("%+v", e)
	}
}
