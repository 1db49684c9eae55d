package keeper

import (
	"os"
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// publicCAs is the system's own bundle of public CAs.
const publicCAs = "/etc/ssl/certs/ca-certificates.crt"

// trusting makes a site that has linked every public CA. It uses the system's clock, because a file must be unchanged
// for a while before it counts as known.
func trusting(t testing.TB) *site {
	if _, err := os.Stat(publicCAs); err != nil {
		t.Skip(err)
	}
	s := newSite(t, "trust: [/ca.crt]")
	data, err := os.ReadFile(publicCAs)
	if err != nil {
		t.Fatal(err)
	}
	s.now = time.Now()
	if err := os.WriteFile(s.root+"/ca.crt", data, 0o644); err != nil {
		t.Fatal(err)
	}
	s.settle(plan.Wish{})
	s.now = time.Now().Add(time.Minute)
	if r := s.settle(plan.Wish{}); len(r.Observed.Certs.Trust) < 100 || !r.Plan.Empty() {
		t.Fatalf("%d files: %v", len(r.Observed.Certs.Trust), r.Plan.Actions)
	}
	return s
}

// Measures one complete look with all public CAs linked that finds nothing to do.
func BenchmarkLookWithPublicCAs(b *testing.B) {
	s := trusting(b)
	for b.Loop() {
		if r := s.Check(b.Context(), plan.Wish{Once: true}); !r.Plan.Empty() {
			b.Fatal(r.Plan.Actions[0].Text.Base())
		}
	}
}
