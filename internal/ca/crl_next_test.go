package ca

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
)

// The waiting generation has its CRL before it is put into force, and keeps it then, so that a host which trusts both
// generations has both CRLs at all times.
func TestCRLBeforePromotion(t *testing.T) {
	openssltest.Need(t)
	o, d := made(t)
	ctx, now := context.Background(), time.Now()
	issue(t, d, o, now)
	if err := WriteCRL(ctx, d, o, rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	if _, err := StartNext(ctx, d, o, rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	if !Observe(o.Dir, Filter{}).CRL.Behind {
		t.Error("the next generation has no CRL, and this is not reported")
	}
	if err := WriteCRL(ctx, d, o, rand.Reader, now); err != nil {
		t.Fatal(err)
	}
	before := Observe(o.Dir, Filter{})
	if n := len(before.CRL.Lists); n != 2 || before.CRL.Behind || before.CRL.Lists[1].List == nil {
		t.Fatalf("%d lists, %+v", n, before.CRL)
	}
	want := string(before.CRL.Lists[1].Raw)
	if _, err := Promote(ctx, d, o); err != nil {
		t.Fatal(err)
	}
	after := Observe(o.Dir, Filter{})
	if n := len(after.CRL.Lists); n != 2 || after.CRL.Behind || string(after.CRL.Lists[0].Raw) != want {
		t.Fatalf("%d lists, %+v", n, after.CRL)
	}
	leaf := issue(t, d, o, now)
	path := filepath.Join(o.Dir, "newcerts", FormatSerial(leaf.SerialNumber)+".pem")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	mustOpenssl(t, o.Dir, "verify", "-crl_check", "-CAfile", "cacert.pem", "-CRLfile", "crl.pem", path)
	if _, err := os.Stat(filepath.Join(o.Dir, nextName)); err == nil {
		t.Error("next/ is still there")
	}
}
