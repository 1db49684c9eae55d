package dns

import (
	"fmt"
	"strings"

	wire "github.com/miekg/dns"

	"mailcertd/internal/text"
)

// Kind says what went wrong, so that a caller can act on it and need not read the text.
type Kind string

// What can go wrong.
const (
	// Refused: the server does not let this key change, or this host ask for, the name.
	Refused Kind = "refused"
	// NotAuth: the server does not serve the zone, so that it cannot change it (NOTAUTH, NOTZONE).
	NotAuth Kind = "not-authoritative"
	// BadKey: the server does not know the key.
	BadKey Kind = "unknown-key"
	// BadSig: server and key file have different secrets; or an answer is not signed as it must be.
	BadSig Kind = "bad-signature"
	// BadTime: the clocks of server and host are too far apart.
	BadTime Kind = "clock"
	// NoServer: no server could be reached.
	NoServer Kind = "no-server"
	// NoZone: the zone of a name could not be found.
	NoZone Kind = "no-zone"
	// Aliases: CNAME records lead in a circle, too far, or out of the zone that was given.
	Aliases Kind = "aliases"
	// Disagree: the time was over, and not every authoritative server had the record.
	Disagree Kind = "servers-disagree"
	// Failed: the server answered with another failure, such as SERVFAIL.
	Failed Kind = "failed"
)

// Error is a failure of a question or an update. Its text says which server, zone and name, and what to do next.
type Error struct {
	Kind   Kind
	Server string // address and port, or a list of them; "" where none was asked
	Zone   string // "" where it is not known
	Name   string // what was asked for or changed
	Detail string // what happened, a part of the text
	Hint   string // what to do next, the end of the text
	Views  []View // Disagree: what each server answered last
	Err    error  // the system's reason or that of the context; nil for what a server answered
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("DNS: ")
	if e.Server != "" {
		b.WriteString(e.Server + ": ")
	}
	fmt.Fprintf(&b, "%s: %s", plain(e.Name), e.Detail)
	if e.Zone != "" {
		fmt.Fprintf(&b, " (zone %s)", plain(e.Zone))
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return text.Escaped(b.String())
}

// Unwrap is the reason below.
func (e *Error) Unwrap() error { return e.Err }

// rcode is the name of a response code, as the field has it.
func rcode(code int) string {
	if s, known := wire.RcodeToString[code]; known {
		return s
	}
	return fmt.Sprintf("response code %d", code)
}
