package pki

import "testing"

func TestPermitted(t *testing.T) {
	for _, c := range []struct {
		name    string
		domains []string
		want    bool
	}{
		{"mail.example.org", nil, true},
		{"mail.example.org", []string{"example.org"}, true},
		{"example.org", []string{"example.org"}, true},
		{"MAIL.example.org", []string{"x", ".Example.ORG"}, true},
		{"evilexample.org", []string{"example.org"}, false},
		{"example.org.evil.com", []string{"example.org"}, false},
		{"org", []string{"example.org"}, false},
	} {
		if got := Permitted(c.domains, c.name); got != c.want {
			t.Errorf("%q in %q: %v", c.name, c.domains, got)
		}
	}
}
