package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	wire "github.com/miekg/dns"

	"mailcertd/internal/text"
)

// View is the answer of one address of one authoritative server about a name.
type View struct {
	Server  string   // its name in the NS record
	Addr    string   // its address and port, "" where it has no address
	Records []Record // the records of the type in question
	Alias   string   // the target of a CNAME record at the name, "" where there is none
	Missing bool     // NXDOMAIN: the name does not exist
	Away    bool     // it did not answer; Err says why
	Err     error    // why the server's records are unknown; nil: Records has all of them
	// Beside says why it is asked although no NS record of the zone names it; see Everywhere.
	Beside Beside
	// Wild says that the records are those of a wildcard name. It is known of signed records alone.
	Wild bool
}

// Has reports whether the server has the record.
func (v View) Has(r Record) bool { return v.Err == nil && slices.ContainsFunc(v.Records, r.Same) }

func (v View) String() string {
	who := plain(v.Server)
	if v.Addr != "" {
		who += " (" + v.Addr + ")"
	}
	switch {
	case v.Err != nil:
		return who + ": " + v.Err.Error()
	case v.Missing:
		return who + ": NXDOMAIN"
	case v.Alias != "":
		return who + ": a CNAME record that points to " + plain(v.Alias)
	case len(v.Records) == 0:
		return who + ": no such record"
	}
	var data []string
	for _, r := range v.Records[:min(len(v.Records), maxShown)] {
		data = append(data, text.Clip(r.Data(), maxData))
	}
	if more := len(v.Records) - len(data); more > 0 {
		data = append(data, fmt.Sprintf("and %d more", more))
	}
	return who + ": " + strings.Join(data, ", ")
}

const (
	maxShown = 3  // records of one server in an error message
	maxData  = 80 // octets of each of them
)

// Lookup asks every address of every authoritative server of the zone for the records of a name, and returns their
// answers, ordered by server and address. An error means that the servers of the zone could not be found.
func (c *Client) Lookup(ctx context.Context, zone Zone, name string, t Type) ([]View, error) {
	servers, err := c.servers(ctx, zone)
	if err != nil {
		return nil, err
	}
	views := c.views(ctx, servers, canonical(name), t)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return views, nil
}

// server is one authoritative server.
type server struct {
	name  string
	addrs []string
	err   error // why its addresses are unknown
}

// servers returns the authoritative servers of a zone, by its NS records.
func (c *Client) servers(ctx context.Context, zone Zone) ([]server, error) {
	name := canonical(zone.Name)
	answer, err := c.ask(ctx, name, wire.TypeNS)
	if err != nil {
		return nil, err
	}
	names := nameServers(answer.Answer, name)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 || len(names) > maxServers {
		return nil, &Error{Kind: NoZone, Zone: name, Name: name, Detail: fmt.Sprintf("it has %d NS records",
			len(names)),
			Hint: "set dns.resolver to a server that knows the zone"}
	}
	return c.located(ctx, names), ctx.Err()
}

// views asks all servers at the same time.
func (c *Client) views(ctx context.Context, servers []server, name string, t Type) []View {
	var out []View
	for _, s := range servers {
		if s.err != nil {
			out = append(out, View{Server: s.name, Away: true, Err: s.err})
		}
		for _, addr := range s.addrs {
			out = append(out, View{Server: s.name, Addr: addr})
		}
	}
	var wg sync.WaitGroup
	for i := range out {
		if v := &out[i]; v.Addr != "" {
			wg.Go(func() { c.look(ctx, v, name, t) })
		}
	}
	wg.Wait()
	return out
}

var errLame = errors.New("it does not serve the zone: its answer is not authoritative")

// look asks the server at v.Addr and fills in v.
func (c *Client) look(ctx context.Context, v *View, name string, t Type) {
	answer, err := c.exchange(ctx, v.Addr, signed(question(name, uint16(t), false)), Key{})
	switch {
	case err != nil:
		v.Away, v.Err = true, err
	case answer.Rcode == wire.RcodeNameError && answer.Authoritative:
		v.Missing = true
	case answer.Rcode != wire.RcodeSuccess:
		v.Err = errors.New(rcode(answer.Rcode))
	case !answer.Authoritative:
		v.Err = errLame
	default:
		v.Records, v.Alias = records(answer.Answer, name, t), alias(answer.Answer, name)
		v.Wild = isWild(answer.Answer, name, t)
	}
}

// disagreeing returns the views, ordered by server, because of which not every server counts as having the record. An
// address that does not answer is ignored if the same server has the record at another address.
func disagreeing(views []View, r Record) []View {
	has := map[string]bool{}
	for _, v := range views {
		if v.Has(r) {
			has[v.Server] = true
		}
	}
	var out []View
	for _, v := range views {
		if !v.Has(r) && !(v.Away && has[v.Server]) {
			out = append(out, v)
		}
	}
	return out
}
