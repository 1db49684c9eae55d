package dns

import (
	"errors"
	"fmt"
	"testing"
)

// A message that says the name already does not have it twice. Another name, such as that of an alias, stays.
func TestReason(t *testing.T) {
	e := &Error{Server: "192.0.2.1:53", Zone: "example.org.", Name: "_25._tcp.mail.example.org.", Detail: "SERVFAIL",
		Hint: "see the log of that server"}
	const rest = "SERVFAIL (zone example.org); see the log of that server"
	for _, c := range []struct {
		err  error
		name string
		want string
	}{
		{e, "_25._tcp.mail.example.org.", "192.0.2.1:53: " + rest},
		{e, "_25._tcp.Mail.Example.org", "192.0.2.1:53: " + rest},
		{e, "_25._tcp.mx.example.net.", "192.0.2.1:53: _25._tcp.mail.example.org: " + rest},
		{fmt.Errorf("the second question: %w", e), "_25._tcp.mail.example.org.", "the second question: " + e.Error()},
		{errors.New("no answer in time"), "_25._tcp.mail.example.org.", "no answer in time"},
	} {
		if got := Reason(c.err, c.name); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	if want := "DNS: 192.0.2.1:53: _25._tcp.mail.example.org: " + rest; e.Error() != want {
		t.Errorf("%s", e)
	}
}
