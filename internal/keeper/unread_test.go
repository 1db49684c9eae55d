package keeper

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"strings"
	"syscall"
	"testing"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// install --dry-run makes nothing, not even the directory that the lock would lie on.
func TestInstallDryRunMakesNothing(t *testing.T) {
	s := newSite(t, "issuer: none")
	good := purchased(t, s.now, nil)
	full := good.leaf.keyPEM(t) + good.leaf.pem() + good.middle.pem() + good.root.pem()
	if err := os.RemoveAll(s.cfg.Certs.Dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.InstallFile(context.Background(), Incoming{Data: []byte(full), Path: "carried.pem", DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.cfg.Certs.Dir); !os.IsNotExist(err) {
		t.Errorf("the certs directory: %v", err)
	}
}

// One error of a read of an older generation's certificate takes nothing out of cacert.pem.
func TestUnreadGenerationStaysTrusted(t *testing.T) { // not parallel: the seam for reads is one
	s := newSite(t, "")
	s.settle(plan.Wish{})
	if _, err := ca.NextGeneration(context.Background(), &durable.Disk{}, s.caOptions(s.observe(context.Background())), rand.Reader, s.now); err != nil {
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
