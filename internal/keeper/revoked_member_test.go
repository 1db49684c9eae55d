package keeper

import (
	"context"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// A member whose certificate is revoked gets a new one. The CA does not give it an older certificate again that the
// member has replaced, even if that one is not revoked.
func TestMemberRevokedAfterARenewal(t *testing.T) {
	f := newFamily(t, "", "", "a.example.org")
	f.day(time.Hour)
	m := f.members["a.example.org"]
	first := m.leaf()
	f.ca.now, m.now = f.ca.now.Add(48*time.Hour), m.now.Add(48*time.Hour)
	wish := plan.Wish{Renew: true, From: pki.Fingerprint(first), Once: true}
	if _, err := m.Renew(context.Background(), wish); err != nil {
		t.Fatal(err)
	}
	second := m.leaf()
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Fatal("the renewal gave the former certificate again")
	}
	f.ca.revokes(second.SerialNumber, "superseded")
	for range 3 {
		f.day(25 * time.Hour)
	}
	third := m.leaf()
	if third.SerialNumber.Cmp(first.SerialNumber) == 0 || third.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Errorf("the new certificate has serial %X, after %X and %X", third.SerialNumber, first.SerialNumber,
			second.SerialNumber)
	}
	if r := m.Check(context.Background(), plan.Wish{}); problem(r.Plan, plan.LeafRevoked) != nil ||
		problem(r.Plan, plan.IssuerAway) != nil {
		t.Error(reasons(r))
	}
}
