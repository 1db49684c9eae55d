package dns

import (
	"context"
	"net"
	"net/netip"

	wire "github.com/miekg/dns"
)

// The types that tell where the mail of a domain goes.
const (
	TypeA     = Type(wire.TypeA)
	TypeAAAA  = Type(wire.TypeAAAA)
	TypeCNAME = Type(wire.TypeCNAME)
	TypeMX    = Type(wire.TypeMX)
	TypeSOA   = Type(wire.TypeSOA)
)

// MX returns the preference and the host name of an MX record, "." for none at all (RFC 7505); false for any other
// record.
func (r Record) MX() (preference int, host string, is bool) {
	mx, is := r.rr.(*wire.MX)
	if !is {
		return 0, "", false
	}
	return int(mx.Preference), canonical(mx.Mx), true
}

// Address returns the address in an A or AAAA record, the zero Addr for any other record.
func (r Record) Address() (ip netip.Addr) {
	switch rr := r.rr.(type) {
	case *wire.A:
		ip, _ = netip.AddrFromSlice(rr.A.To4())
	case *wire.AAAA:
		ip, _ = netip.AddrFromSlice(rr.AAAA)
	}
	return ip
}

// Reply is a resolver's answer about a name.
type Reply struct {
	Records []Record // of the type in question, at the end of the CNAME records
	Aliases []string // the names to which CNAME records lead, in their order
	Missing bool     // NXDOMAIN: the name does not exist
	// AD says that the resolver has checked the signatures, also those of a negative answer (RFC 4035, section 3.2.3).
	// It can be believed where Local is true: nobody can change the answers on the way.
	AD       bool
	Local    bool
	Resolver string // address and port
}

// Asked asks the resolver for the records of a name and whether they are signed. An error that wraps ErrBogus means
// that they have signatures that are wrong.
func (c *Client) Asked(ctx context.Context, name string, t Type) (Reply, error) {
	name = canonical(name)
	if _, valid := wire.IsDomainName(name); !valid || len(name) > maxNameOctets {
		return Reply{}, &Error{Kind: NoZone, Name: name, Detail: "not a domain name"}
	}
	m := question(name, uint16(t), true)
	m.AuthenticatedData = true // asks for the AD bit in the answer (RFC 6840, section 5.7)
	answer, server, err := c.askWith(ctx, m)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{AD: answer.AuthenticatedData, Resolver: server, Missing: answer.Rcode == wire.RcodeNameError}
	if host, _, err := net.SplitHostPort(server); err == nil {
		ip, err := netip.ParseAddr(host)
		r.Local = err == nil && ip.IsLoopback()
	}
	for range maxAliasSteps {
		next := alias(answer.Answer, name)
		if next == "" || t == TypeCNAME {
			break
		}
		name = next
		r.Aliases = append(r.Aliases, next)
	}
	r.Records = records(answer.Answer, name, t)
	return r, nil
}
