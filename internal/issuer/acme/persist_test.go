package acme

import (
	"testing"
	"time"
)

// permits is true for the records that the CA will accept, and for no others (draft-ietf-acme-dns-persist section 4).
func TestPermits(t *testing.T) {
	const account = "https://ca.test/acct/1"
	now := time.Unix(1_800_000_000, 0)
	for value, want := range map[string]bool{
		"ca.test; accounturi=https://ca.test/acct/1":                          true,
		"ca.test;accounturi=https://ca.test/acct/1;policy=wildcard":           true,
		" CA.test. ; AccountURI = https://ca.test/acct/1 ":                    true,
		"ca.test; accounturi=https://ca.test/acct/1; persistUntil=1900000000": true,
		"ca.test; accounturi=https://ca.test/acct/1; persistUntil=1700000000": false,
		"ca.test; accounturi=https://ca.test/acct/1; persistUntil=soon":       false,
		"ca.test; accounturi=https://ca.test/acct/2":                          false,
		"other.test; accounturi=https://ca.test/acct/1":                       false,
		"ca.test": false,
		"":        false,
		"ca.test; accounturi=https://ca.test/acct/1; accounturi=https://x": false,
		"ca.test; accounturi=https://ca.test/acct/1; policy":               false,
		"ca.test; accounturi=https://ca.test/acct/1;":                      false,
	} {
		if got := permits(value, []string{"ca.test"}, account, false, now); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if permits("ca.test; accounturi="+account, []string{"ca.test"}, account, true, now) {
		t.Error("a wildcard without a policy")
	}
	if !permits("ca.test; accounturi="+account+"; policy=Wildcard", []string{"ca.test"}, account, true, now) {
		t.Error("a wildcard with its policy")
	}
}
