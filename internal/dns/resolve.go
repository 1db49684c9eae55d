package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	wire "github.com/miekg/dns"

	"mailcertd/internal/durable"
)

const (
	maxResolvers  = 3 // resolver(5) uses no more
	maxResolvConf = 64 << 10
	maxAddresses  = 8  // of one server
	maxServers    = 32 // of one zone
	maxAliasSteps = 8  // CNAME records in a row
	maxNameOctets = 255
)

// ask asks the resolvers in turn, until one has an answer or says that the name or the records do not exist.
func (c *Client) ask(ctx context.Context, name string, t uint16) (*wire.Msg, error) {
	answer, _, err := c.askWith(ctx, question(name, t, true))
	return answer, err
}

// ErrBogus is an error because the resolver gives no answer, and has one where it need not check signatures: they are
// wrong or have expired.
var ErrBogus = errors.New("the signatures (DNSSEC) are wrong or have expired")

// askWith is ask for a question that is made already. It returns the resolver that answered too. The answer is never
// one without a check: that would only say why there is none with it.
func (c *Client) askWith(ctx context.Context, m *wire.Msg) (answer *wire.Msg, server string, err error) {
	answer, server, err = c.askEach(ctx, m)
	if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != Failed {
		return answer, server, err
	}
	unchecked := m.Copy()
	unchecked.CheckingDisabled = true
	if _, _, failed := c.askEach(ctx, unchecked); failed != nil {
		return nil, "", err
	}
	answer, server, err = c.askEach(ctx, m) // it may have failed only for a moment
	if e := (*Error)(nil); errors.As(err, &e) && e.Kind == Failed {
		e.Err, e.Detail = ErrBogus, e.Detail+": "+ErrBogus.Error()
		e.Hint = "sign the zone again, and check that the zone above it has the DS record of one of its keys"
	}
	return answer, server, err
}

// askEach is askWith without a reason for a failure.
func (c *Client) askEach(ctx context.Context, m *wire.Msg) (answer *wire.Msg, server string, err error) {
	name, t := m.Question[0].Name, m.Question[0].Qtype
	servers, err := c.resolversNow()
	if err != nil {
		return nil, "", &Error{Kind: NoServer, Name: name, Detail: err.Error(), Hint: "set dns.resolver", Err: err}
	}
	var failed failures
	kind, last := NoServer, error(nil)
	for _, s := range servers {
		answer, err := c.exchange(ctx, s, m, Key{})
		switch {
		case ctx.Err() != nil:
			return nil, "", ctx.Err()
		case err != nil:
			failed.add(s, err)
			last = err
		case answer.Rcode != wire.RcodeSuccess && answer.Rcode != wire.RcodeNameError:
			failed.add(s, errors.New(rcode(answer.Rcode)))
			kind = Failed
		default:
			return answer, s, nil
		}
	}
	e := &Error{Kind: kind, Name: name, Err: last, Detail: fmt.Sprintf("no resolver gives its %s records: %s",
		Type(t), failed), Hint: "see the log of the resolver, or set dns.resolver to another one"}
	if kind == NoServer {
		e.Hint = "set dns.resolver to a resolver that answers this host"
	}
	return nil, "", e
}

// resolversNow returns the configured resolvers, or those that resolv.conf(5) has now. Where it has none, a server on
// this host is asked, as the system's own resolver does.
func (c *Client) resolversNow() ([]string, error) {
	if len(c.resolvers) > 0 {
		return c.resolvers, nil
	}
	n := durable.Read(c.resolvConf, maxResolvConf)
	if n.Err != nil {
		return nil, n.Err
	}
	conf, err := wire.ClientConfigFromReader(bytes.NewReader(n.Data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.resolvConf, err)
	}
	var out []string
	for _, s := range conf.Servers {
		if _, err := netip.ParseAddr(s); err == nil && len(out) < maxResolvers {
			out = append(out, net.JoinHostPort(s, c.port))
		}
	}
	if len(out) == 0 {
		out = []string{net.JoinHostPort("127.0.0.1", c.port)}
	}
	return out, nil
}

// Addresses returns the addresses of a host as its resolver knows them, whatever /etc/hosts has.
func (c *Client) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	return c.addresses(ctx, host)
}

// addresses returns the addresses of a host, at least one and at most maxAddresses, or an error.
func (c *Client) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	host = canonical(host)
	var out []netip.Addr
	var failed error
	for _, t := range []uint16{wire.TypeA, wire.TypeAAAA} {
		answer, err := c.ask(ctx, host, t)
		if err != nil {
			failed = err
			continue
		}
		owner := host
		for range maxAliasSteps {
			next := alias(answer.Answer, owner)
			if next == "" {
				break
			}
			owner = next
		}
		for _, r := range records(answer.Answer, owner, Type(t)) {
			var ip netip.Addr
			switch rr := r.rr.(type) {
			case *wire.A:
				ip, _ = netip.AddrFromSlice(rr.A.To4())
			case *wire.AAAA:
				ip, _ = netip.AddrFromSlice(rr.AAAA)
			}
			if ip.IsValid() && !slices.Contains(out, ip) && len(out) < maxAddresses {
				out = append(out, ip)
			}
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case failed != nil:
		return nil, failed
	}
	return nil, errNoAddress
}

var errNoAddress = errors.New("the DNS has no A or AAAA record for it")

// endpoints returns a host's addresses, each with the port.
func (c *Client) endpoints(ctx context.Context, host, port string) ([]string, error) {
	ips, err := c.addresses(ctx, host)
	if errors.Is(err, errNoAddress) && len(c.resolvers) == 0 { // /etc/hosts may have an address
		if known, herr := net.DefaultResolver.LookupNetIP(ctx, "ip", host); herr == nil && len(known) > 0 {
			ips, err = known[:min(len(known), maxAddresses)], nil
		}
	}
	var out []string
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return out, err
}
