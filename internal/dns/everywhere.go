package dns

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

const (
	delegationIn = 3 * time.Second // how long the servers above a zone may take
	maxParents   = 2               // of their addresses are asked
)

// Seat is one address of a server.
type Seat struct {
	Server string
	Addr   string // with its port
}

// Beside says why a server is asked that no NS record of a zone names.
type Beside string

// Why servers are asked that no NS record of a zone names.
const (
	Above  Beside = "above"  // only the zone above names it
	Former Beside = "former" // it was one of the zone's servers
)

// Everywhere is Lookup for a caller who wants to know what any resolver in the world may get. The resolver may remember
// NS records for long, so the servers themselves are asked which ones there are. Views of servers that only the zone
// above names, and of those of former, come last: other resolvers may still ask them, if they answer.
func (c *Client) Everywhere(ctx context.Context, zone Zone, name string, t Type, former []Seat) ([]View, error) {
	name, zone.Name = canonical(name), canonical(zone.Name)
	var above []string
	var parallel sync.WaitGroup
	parallel.Go(func() { above = c.delegation(ctx, zone.Name) })
	listed, err := c.servers(ctx, zone)
	if err != nil {
		parallel.Wait()
		return nil, err
	}
	listed = append(listed, c.located(ctx, c.added(ctx, zone.Name, listed))...)
	views := c.views(ctx, listed, name, t)
	parallel.Wait()
	upper := c.located(ctx, slices.DeleteFunc(above, func(n string) bool {
		return slices.ContainsFunc(listed, func(s server) bool { return s.name == n })
	}))
	views = append(views, c.beside(ctx, views, upper, name, t, Above)...)
	var gone []server
	for _, f := range former {
		gone = append(gone, server{name: canonical(f.Server), addrs: []string{f.Addr}})
	}
	views = append(views, c.beside(ctx, views, gone, name, t, Former)...)
	return views, ctx.Err()
}

// beside asks servers at those of their addresses that were not asked.
func (c *Client) beside(ctx context.Context, asked []View, all []server, name string, t Type, why Beside) []View {
	was := map[string]bool{}
	for _, v := range asked {
		was[v.Addr] = true
	}
	for i := range all {
		all[i].err = nil
		all[i].addrs = slices.DeleteFunc(all[i].addrs, func(addr string) bool {
			before := was[addr]
			was[addr] = true
			return before
		})
	}
	out := c.views(ctx, all, name, t)
	for i := range out {
		out[i].Beside = why
	}
	return out
}

// located finds the addresses of these servers.
func (c *Client) located(ctx context.Context, names []string) []server {
	slices.Sort(names)
	names = slices.Compact(names)
	out := make([]server, min(len(names), maxServers))
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() {
			out[i].name = names[i]
			out[i].addrs, out[i].err = c.endpoints(ctx, names[i], c.port)
		})
	}
	all.Wait()
	return out
}

// added are the servers that the zone's own NS records name, as these servers have them, and that are not among them.
func (c *Client) added(ctx context.Context, zone string, listed []server) (names []string) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, s := range listed {
		for _, addr := range s.addrs {
			all.Go(func() {
				answer, err := c.exchange(ctx, addr, question(zone, wire.TypeNS, false), Key{})
				if err != nil || answer.Rcode != wire.RcodeSuccess || !answer.Authoritative {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				names = append(names, nameServers(answer.Answer, zone)...)
			})
		}
	}
	all.Wait()
	return slices.DeleteFunc(names, func(n string) bool {
		return slices.ContainsFunc(listed, func(s server) bool { return s.name == n })
	})
}

// delegation are the servers that the zone above names; none where it does not answer.
func (c *Client) delegation(ctx context.Context, zone string) []string {
	ctx, cancel := context.WithTimeout(ctx, delegationIn)
	defer cancel()
	off, end := wire.NextLabel(zone, 0)
	parent := Zone{Name: "."}
	if !end {
		above, err := c.above(ctx, zone[off:], func(string) bool { return true })
		switch e := (*Error)(nil); {
		case err == nil:
			parent = above
		case !errors.As(err, &e) || e.Kind != NoZone:
			return nil
		}
	}
	servers, err := c.servers(ctx, parent)
	if err != nil {
		return nil
	}
	tried := 0
	for _, s := range servers {
		for _, addr := range s.addrs {
			if tried++; tried > maxParents {
				return nil
			}
			answer, err := c.exchange(ctx, addr, question(zone, wire.TypeNS, false), Key{})
			if err != nil || answer.Rcode != wire.RcodeSuccess {
				continue
			}
			if names := nameServers(append(slices.Clone(answer.Ns), answer.Answer...), zone); len(names) > 0 {
				return names
			}
		}
	}
	return nil
}

// nameServers are the names in the NS records of a zone.
func nameServers(rrs []wire.RR, zone string) (names []string) {
	for _, r := range records(rrs, zone, Type(wire.TypeNS)) {
		names = append(names, canonical(r.rr.(*wire.NS).Ns))
	}
	return names
}
