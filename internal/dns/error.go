package dns

import (
	"fmt"
	"strings"

	wire "github.com/miekg/dns"

	"mailcertd/internal/text"
)

// Kind says what went wrong, so that a caller can act on it without reading the text.
type Kind string

// The kinds of errors.
const (
	// Refused: the server does not let this key change, or this host ask for, the name.
	Refused Kind = "refused"
	// NotAuth: the server does not serve the zone and therefore cannot change it (NOTAUTH, NOTZONE).
	NotAuth Kind = "not-authoritative"
	// BadKey: the server does not know the key.
	BadKey Kind = "unknown-key"
	// BadSig: server and key file have different secrets, or an answer lacks its signature.
	BadSig Kind = "bad-signature"
	// BadTime: the clocks of server and host are too far apart.
	BadTime Kind = "clock"
	// NoServer: no server could be reached.
	NoServer Kind = "no-server"
	// NoZone: the zone of a name could not be found.
	NoZone Kind = "no-zone"
	// Aliases: CNAME records form a circle, are too many, or lead out of the configured zone.
	Aliases Kind = "aliases"
	// Disagree: the time has passed, and not every authoritative server has the record.
	Disagree Kind = "servers-disagree"
	// Changed: somebody else has changed the records since they were read.
	Changed Kind = "changed"
	// Failed: the server answered with another failure, such as SERVFAIL.
	Failed Kind = "failed"
)

// Error is a failed question or update. Its text says which server, zone and name, and what to do next.
type Error struct {
	Kind   Kind
	Server string // address and port, or a list of them; "" where no server was asked
	Zone   string // "" where it is unknown
	Name   string // the name of the record
	Detail string // what happened; it is part of the text
	Hint   string // what to do next; the text ends with it
	Views  []View // for Disagree: the last answer of each server
	Err    error  // the system's or the context's reason; nil where a server answered
}

func (e *Error) Error() string { return "DNS: " + e.about("") }

// Reason is why something about a name failed, for a message that says the name itself.
func Reason(err error, name string) string {
	if e, is := err.(*Error); is { // not one below other text, which stays
		return e.about(name)
	}
	return err.Error()
}

// about is the text without the name of the record, if that is the one that was said.
func (e *Error) about(said string) string {
	var b strings.Builder
	if e.Server != "" {
		b.WriteString(e.Server + ": ")
	}
	if said == "" || canonical(e.Name) != canonical(said) {
		b.WriteString(plain(e.Name) + ": ")
	}
	b.WriteString(e.Detail)
	if e.Zone != "" {
		fmt.Fprintf(&b, " (zone %s)", plain(e.Zone))
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return text.Escaped(b.String())
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// rcode is the name of a response code in RFC 6895, such as SERVFAIL.
func rcode(code int) string {
	if s, known := wire.RcodeToString[code]; known {
		return s
	}
	return fmt.Sprintf("response code %d", code)
}
