package keeper

import (
	"context"
	"os"
	"testing"

	"mailcertd/internal/plan"
)

// `renew` issues a certificate even where host.cert is missing and the former certificate comes back from newcerts,
// whether the daemon or the verb brings it back.
func TestRenewOfWhatComesBack(t *testing.T) {
	other := func(path string) error {
		_, cert, _ := boughtPair(t)
		return os.WriteFile(path, cert, 0o644)
	}
	for name, c := range map[string]struct {
		harm   func(path string) error
		daemon bool // a daemon looks before the verb does
	}{
		"missing":               {os.Remove, false},
		"missing, and a daemon": {os.Remove, true},
		"empty":                 {func(path string) error { return os.Truncate(path, 0) }, false},
		"garbage, and a daemon": {func(path string) error {
			return os.WriteFile(path, []byte("rubbish\n"), 0o644)
		}, true},
		"of another key":          {other, false},
		"as it was, and a daemon": {func(string) error { return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.settle(plan.Wish{})
			before := s.leaf()
			if err := c.harm(s.certs("host.cert")); err != nil {
				t.Fatal(err)
			}
			f := s.Check(context.Background(), plan.Wish{}).Plan.Facts
			if c.daemon {
				s.settle(plan.Wish{})
			}
			s.settle(plan.Wish{Renew: true, From: f.Renewed, FromKey: f.KeyID})
			if after := s.leaf(); after.SerialNumber.Cmp(before.SerialNumber) == 0 {
				t.Error("the certificate is the former one")
			}
			if n := len(s.Check(context.Background(), plan.Wish{}).Observed.CA.Issued); n != 2 {
				t.Errorf("%d certificates were issued, want 2", n)
			}
		})
	}
}
