package dns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	wire "github.com/miekg/dns"
)

// Add adds a record and keeps all others of its name. If the record exists, nothing changes.
func (c *Client) Add(ctx context.Context, zone Zone, r Record) error {
	return c.update(ctx, zone, r, func(m *wire.Msg, rr wire.RR) { m.Insert([]wire.RR{rr}) })
}

// Remove removes exactly that record. If it does not exist, nothing changes.
func (c *Client) Remove(ctx context.Context, zone Zone, r Record) error {
	return c.update(ctx, zone, r, func(m *wire.Msg, rr wire.RR) { m.Remove([]wire.RR{rr}) })
}

// update sends an update to the configured server, or to the zone's primary server. An update that reaches the server
// twice changes nothing the second time.
func (c *Client) update(ctx context.Context, zone Zone, r Record, change func(*wire.Msg, wire.RR)) error {
	zone.Name = canonical(zone.Name)
	m := new(wire.Msg)
	m.SetUpdate(zone.Name)
	change(m, wire.Copy(r.rr))
	return c.send(ctx, zone, r.Name(), r.Type(), func(string) (*wire.Msg, error) { return m, nil })
}

// send sends an update about the records of one name and type to the configured server, or to the zone's primary
// server. build makes the update for the server at an address; nil: there is nothing to change. An address at which
// build fails counts as one that does not answer.
func (c *Client) send(ctx context.Context, zone Zone, name string, t Type,
	build func(addr string) (*wire.Msg, error)) error {
	server := c.o.Server
	if server == "" {
		if zone.Primary == "" {
			var err error
			if zone, err = c.above(ctx, zone.Name, func(z string) bool { return z == zone.Name }); err != nil {
				return err
			}
		}
		server = net.JoinHostPort(plain(zone.Primary), c.port)
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return err
	}
	none := &Error{Kind: NoServer, Server: server, Zone: zone.Name, Name: name,
		Hint: "set dns.server to a server that accepts updates of the zone and answers this host"}
	addrs, err := c.endpoints(ctx, host, port)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		none.Detail, none.Err = "the address of the server could not be found: "+err.Error(), err
		return none
	}
	var failed failures
	for _, addr := range addrs {
		var answer *wire.Msg
		m, err := build(addr)
		if err == nil && m == nil {
			return nil
		}
		if err == nil {
			answer, err = c.exchange(ctx, addr, m, c.o.Key)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errUnsigned) || errors.Is(err, wire.ErrSig):
			return &Error{Kind: BadSig, Server: addr, Zone: zone.Name, Name: name, Detail: err.Error(), Err: err,
				Hint: "find out what answers in the server's place, such as a firewall"}
		case errors.Is(err, wire.ErrTime):
			return &Error{Kind: BadTime, Server: addr, Zone: zone.Name, Name: name, Detail: err.Error(), Err: err,
				Hint: "set the clocks of both hosts (ntpd)"}
		case err != nil:
			failed.add(addr, err)
			none.Err = err
			continue
		}
		return c.verdict(answer, addr, zone, name, t)
	}
	none.Detail = "no server could be reached for the update: " + failed.String()
	return none
}

// verdict returns the error that an answer to an update stands for: nil for success.
func (c *Client) verdict(answer *wire.Msg, addr string, zone Zone, name string, t Type) error {
	if answer.Rcode == wire.RcodeSuccess {
		return nil
	}
	e := &Error{Server: addr, Zone: zone.Name, Name: name}
	key := c.o.Key
	sig := answer.IsTsig()
	switch {
	case answer.Rcode == wire.RcodeNXRrset || answer.Rcode == wire.RcodeYXRrset:
		e.Kind, e.Detail = Changed, "its "+t.String()+" records have changed since they were read ("+
			rcode(answer.Rcode)+")"
		e.Hint = "nothing was changed; find out who else changes them"
	case answer.Rcode == wire.RcodeNotAuth && sig != nil && sig.Error == wire.RcodeBadKey:
		e.Kind, e.Detail = BadKey, fmt.Sprintf("the server does not know the TSIG key %s (BADKEY)", key)
		e.Hint = fmt.Sprintf("in BIND, add the key file's statement key %q { ... }; to its configuration, and "+
			"update-policy { grant %s name %s %s; }; to its zone", plain(key.Name), plain(key.Name), plain(name), t)
	case answer.Rcode == wire.RcodeNotAuth && sig != nil && sig.Error == wire.RcodeBadSig:
		e.Kind, e.Detail = BadSig, fmt.Sprintf("the server has another secret for the TSIG key %s (BADSIG)", key)
		e.Hint = "copy the key file from the server to dns.key_file again"
	case answer.Rcode == wire.RcodeNotAuth && sig != nil && sig.Error == wire.RcodeBadTime:
		e.Kind, e.Detail = BadTime, "the server's clock and that of this host differ too much (BADTIME)"+serverTime(sig)
		e.Hint = "set the clocks of both hosts (ntpd)"
	case answer.Rcode == wire.RcodeNotAuth || answer.Rcode == wire.RcodeNotZone:
		e.Kind, e.Detail = NotAuth, "the server does not serve this zone ("+rcode(answer.Rcode)+")"
		e.Hint = "set dns.server to the primary server of the zone"
	case answer.Rcode == wire.RcodeRefused && key.IsZero():
		e.Kind, e.Detail = Refused, "the server refuses an update that is not signed (REFUSED)"
		e.Hint = "set dns.key_file to a file that `tsig-keygen mailcertd` has written; in BIND, add its statement to " +
			"the server's configuration, and update-policy { grant mailcertd name " + plain(name) + " " + t.String() +
			"; }; to its zone"
	case answer.Rcode == wire.RcodeRefused:
		e.Kind, e.Detail = Refused, fmt.Sprintf("the server does not let the TSIG key %s change this name (REFUSED)",
			key)
		e.Hint = "allow it there; in BIND: update-policy { grant " + plain(key.Name) + " name " + plain(name) + " " +
			t.String() + "; };"
		if host, _, _ := net.SplitHostPort(c.o.Server); zone.Primary != "" && canonical(host) != zone.Primary {
			e.Hint += " or, if it is a secondary server, set dns.server to the primary one, " + plain(zone.Primary)
		}
	default:
		e.Kind, e.Detail = Failed, "the server answers the update with "+rcode(answer.Rcode)
		e.Hint = "see the log of the server"
	}
	return e
}

// serverTime is text with the server's time in a BADTIME answer (RFC 8945, section 5.2.3) and this host's time.
func serverTime(t *wire.TSIG) string {
	b, err := hex.DecodeString(t.OtherData)
	if err != nil || len(b) != 6 {
		return ""
	}
	var s int64
	for _, c := range b {
		s = s<<8 | int64(c)
	}
	return fmt.Sprintf(": there it is %s UTC, here %s UTC", time.Unix(s, 0).UTC().Format(time.DateTime),
		time.Unix(int64(t.TimeSigned), 0).UTC().Format(time.DateTime))
}
