package acme

import (
	"context"
	"strings"
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

// TestStanding: the record that is missing is told as a line for the zone, once the account is known.
func TestStanding(t *testing.T) {
	const url = "https://ca.test/acct/1"
	has := map[string][]string{}
	lookup := func(_ context.Context, name string) ([]string, error) { return has[name], nil }
	i := &Issuer{o: Options{Store: files{}, Now: time.Now, Lookup: lookup}, url: "https://ca.test/dir"}
	says := func(want string, names ...string) {
		t.Helper()
		for _, name := range names {
			err := i.Standing(context.Background(), name, []string{"ca.test"})
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	says("there is none yet: run `mailcertd renew`", "mail.example")
	if err := i.save(i.file("account"), Account{URL: url}); err != nil {
		t.Fatal(err)
	}
	says(`add it to the zone and leave it there: _validation-persist.mail.example. IN TXT `+
		`"ca.test; accounturi=`+url+`"`, "mail.example")
	has["_validation-persist.mail.example"] = []string{"ca.test; accounturi=" + url}
	says("", "mail.example")
	says("; policy=wildcard", "*.mail.example")
}
