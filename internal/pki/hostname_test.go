package pki

import (
	"strings"
	"testing"
)

func TestHostNameFault(t *testing.T) {
	long := strings.Repeat("a23456789.", 26)
	for name, want := range map[string]string{
		"mail.example.org": "", "MAIL.example": "", "a_b.c-d": "", "krb5": "", strings.Repeat("a", 63): "",
		"": "is empty", "localhost": "localhost", "LocalHost.example": "localhost", "192.0.2.1": "address",
		"2001:db8::1": "address",
		"a..b":        "empty", "a.": "empty", ".a": "empty", strings.Repeat("a", 64): "longer than 63",
		long[:254]: "longer than 253", "-a.b": "dash", "a-.b": "dash",
		"bücher.example": "xn--", "*.example": "wildcard", "a b": `' '`, "a/b": `'/'`,
	} {
		if got := HostNameFault(name); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
