package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Zone is a zone of the DNS.
type Zone struct {
	Name    string // fully qualified, in lower case
	Primary string // the primary server in its SOA record (MNAME); "" where no SOA record was asked for
}

// Place is where a record must be made.
type Place struct {
	Name    string   // the record's name, after all CNAME records
	Zone    Zone     // the zone with that name
	Aliases []string // the names with CNAME records on the way there, the original name first
	// AliasTTL is the longest time to live of these CNAME records.
	AliasTTL time.Duration
}

// Zone finds the zone of a name, which is the nearest name at or above it with a SOA record.
func (c *Client) Zone(ctx context.Context, name string) (Zone, error) {
	name = canonical(name)
	if _, valid := wire.IsDomainName(name); !valid || name == "." || len(name) > maxNameOctets {
		return Zone{}, &Error{Kind: NoZone, Name: name, Detail: "not a domain name"}
	}
	if c.o.Zone != "" && wire.IsSubDomain(c.o.Zone, name) {
		if c.o.Server != "" {
			return Zone{Name: c.o.Zone}, nil
		}
		return c.above(ctx, c.o.Zone, func(zone string) bool { return zone == c.o.Zone })
	}
	return c.above(ctx, name, func(string) bool { return true })
}

// above walks up from a name to the first SOA record that fits. A negative answer names the zone's SOA record itself
// (RFC 2308), which saves the steps between.
func (c *Client) above(ctx context.Context, name string, fits func(zone string) bool) (Zone, error) {
	unknown := &Error{Kind: NoZone, Name: name,
		Detail: "no zone contains this name: there is no SOA record for it or for a name above it",
		Hint:   "set dns.zone, or set dns.resolver to a server that knows the zone"}
	for off, end := 0, false; !end; off, end = wire.NextLabel(name, off) {
		at := name[off:]
		answer, err := c.ask(ctx, at, wire.TypeSOA)
		if e := (*Error)(nil); errors.As(err, &e) && e.Kind == Failed {
			// The resolver follows a CNAME record before it answers, and may fail at its end.
			if answer, cerr := c.ask(ctx, at, wire.TypeCNAME); cerr == nil && alias(answer.Answer, at) != "" {
				continue
			}
			e.Kind, e.Name, e.Detail = NoZone, name, "its zone could not be found: "+e.Detail
		}
		if err != nil {
			return Zone{}, err
		}
		if alias(answer.Answer, at) != "" {
			continue // the top of a zone has no CNAME record, so this SOA record belongs to another name
		}
		for _, rr := range append(slices.Clone(answer.Answer), answer.Ns...) {
			soa, is := rr.(*wire.SOA)
			if !is {
				continue
			}
			zone := canonical(soa.Hdr.Name)
			if zone == "." || !wire.IsSubDomain(zone, at) {
				continue
			}
			if !fits(zone) {
				unknown.Zone = zone
				unknown.Detail = "dns.zone is not the name of a zone: the SOA record is at " + plain(zone)
				return Zone{}, unknown
			}
			return Zone{Name: zone, Primary: canonical(soa.Ns)}, nil
		}
	}
	return Zone{}, unknown
}

// Place follows the CNAME records of a name to where a record must be made for it. It asks the authoritative servers,
// because a resolver may still remember that there was no CNAME record. Where they do not answer, it asks the resolver.
func (c *Client) Place(ctx context.Context, name string) (Place, error) {
	p := Place{Name: canonical(name)}
	for {
		zone, err := c.Zone(ctx, p.Name)
		if err != nil {
			return p, err
		}
		p.Zone = zone
		next, ttl, err := c.alias(ctx, zone, p.Name)
		if err != nil {
			return p, err
		}
		if next == "" {
			break
		}
		p.Aliases, p.AliasTTL = append(p.Aliases, p.Name), max(p.AliasTTL, ttl)
		if slices.Contains(p.Aliases, next) {
			return p, &Error{Kind: Aliases, Zone: zone.Name, Name: canonical(name),
				Detail: "its CNAME records point in a circle: " + chain(append(p.Aliases, next)),
				Hint:   "remove one of these records"}
		}
		p.Name = next
		if len(p.Aliases) > maxAliasSteps {
			return p, &Error{Kind: Aliases, Zone: zone.Name, Name: canonical(name),
				Detail: fmt.Sprintf("more than %d CNAME records lead from it to the last name: %s", maxAliasSteps,
					chain(append(p.Aliases, next))), Hint: "let the first one point to the last name"}
		}
	}
	if c.o.Zone != "" && !wire.IsSubDomain(c.o.Zone, p.Name) {
		if len(p.Aliases) == 0 {
			return p, &Error{Kind: NoZone, Zone: p.Zone.Name, Name: p.Name,
				Detail: "the name is outside of dns.zone, " + plain(c.o.Zone),
				Hint:   "set dns.zone to the zone of the name, or to \"\""}
		}
		return p, &Error{Kind: Aliases, Zone: p.Zone.Name, Name: canonical(name),
			Detail: "its CNAME records point to a name outside of dns.zone, " + plain(c.o.Zone) + ": " +
				chain(append(p.Aliases, p.Name)),
			Hint: "set dns.zone to the zone of the last name, or to \"\""}
	}
	return p, nil
}

func chain(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, plain(n))
	}
	return strings.Join(out, " -> ")
}

// alias returns the target of a CNAME record at a name and its time to live, "" where there is none.
func (c *Client) alias(ctx context.Context, zone Zone, name string) (target string, ttl time.Duration, err error) {
	servers, err := c.servers(ctx, zone)
	if err == nil {
		for _, s := range servers {
			for _, addr := range s.addrs {
				answer, err := c.exchange(ctx, addr, question(name, wire.TypeCNAME, false), Key{})
				if ctx.Err() != nil {
					return "", 0, ctx.Err()
				}
				if err == nil && answer.Authoritative &&
					(answer.Rcode == wire.RcodeSuccess || answer.Rcode == wire.RcodeNameError) {
					return alias(answer.Answer, name), aliasTTL(answer.Answer, name), nil
				}
			}
		}
	}
	answer, err := c.ask(ctx, name, wire.TypeCNAME)
	if err != nil {
		return "", 0, err
	}
	return alias(answer.Answer, name), aliasTTL(answer.Answer, name), nil
}
