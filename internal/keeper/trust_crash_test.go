package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mailcertd/internal/durable"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/plan"
)

// A change of the trusted CAs is interrupted at any operation. The next ensure completes it: no half-written file, no
// dangling link, and no file of sendmail's set changed.
func TestTrustCutShort(t *testing.T) {
	openssltest.Need(t)
	a, b, twin := caCert(t, "A", false), caCert(t, "B", true), caCert(t, "A", false)
	cut := errors.New("cut short")
	for n := int64(1); ; n++ {
		s := newSite(t, "trust: [/b.crt]")
		s.write(s.root+"/b.crt", bundle(a, b))
		s.settle(plan.Wish{})
		set := plan.SetID(s.Check(t.Context(), plan.Wish{}).Observed.Certs)
		s.write(s.root+"/b.crt", bundle(b, twin)) // one CA is added and one removed, both with the same subject
		start := s.o.Disk.Points()
		s.o.Disk.Before = func(p durable.Point) error {
			if p.N >= start+n {
				return cut
			}
			return nil
		}
		hit := false
		cutting := s.o.Disk.Before
		s.o.Disk.Before = func(p durable.Point) error {
			err := cutting(p)
			hit = hit || err != nil
			return err
		}
		_, err := s.Settle(t.Context(), plan.Wish{Once: true})
		if !hit {
			if n < 8 {
				t.Fatalf("only %d operations", n)
			}
			return
		}
		if err != nil && !errors.Is(err, cut) { // sendmail can do without these files
			t.Fatalf("operation %d: %v", n, err)
		}
		s.o.Disk.Before = nil
		s.Keeper = New(s.o)
		r := s.settle(plan.Wish{})
		if why := s.complete(r); why != "" || plan.SetID(r.Observed.Certs) != set {
			t.Errorf("operation %d: %s", n, why)
		}
		s.expect("after the cut", cas{b, twin}, cas{a})
		names, _ := filepath.Glob(s.certs("*.[0-9]"))
		for _, l := range names {
			if _, err := os.Stat(l); err != nil {
				t.Errorf("operation %d: %v", n, err)
			}
		}
		if _, err := os.Stat(s.certs(".mailcertd")); err == nil {
			t.Errorf("operation %d: something is left in the staging area", n)
		}
	}
}
