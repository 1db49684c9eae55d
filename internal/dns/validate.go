package dns

import (
	"context"
	"net"
	"net/netip"
)

// Validation is what the resolver says about the records of a name.
type Validation struct {
	Records []Record
	// AD says that the resolver has checked the signatures of the answer (RFC 4035, section 3.2.3). It can be believed
	// where Local is true.
	AD bool
	// Local says that the resolver runs on this host: nobody can change its answers on the way (RFC 7672, section 2.2).
	Local    bool
	Resolver string // address and port
}

// Validated asks the resolver for the records of a name, at the end of its CNAME records, and whether they are signed.
// A resolver that validates answers SERVFAIL where signatures are wrong or have ended: then the error is a Failed, and
// wraps ErrBogus where the resolver has an answer without them.
func (c *Client) Validated(ctx context.Context, name string, t Type) (Validation, error) {
	name = canonical(name)
	m := question(name, uint16(t), true)
	m.AuthenticatedData = true // asks for the AD bit in the answer (RFC 6840, section 5.7)
	answer, server, err := c.askWith(ctx, m)
	if err != nil {
		return Validation{}, err
	}
	v := Validation{AD: answer.AuthenticatedData, Resolver: server}
	if host, _, err := net.SplitHostPort(server); err == nil {
		ip, err := netip.ParseAddr(host)
		v.Local = err == nil && ip.IsLoopback()
	}
	for range maxAliasSteps {
		next := alias(answer.Answer, name)
		if next == "" {
			break
		}
		name = next
	}
	v.Records = records(answer.Answer, name, t)
	return v, nil
}
