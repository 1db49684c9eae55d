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

// View is what one address of one authoritative server says about a name.
type View struct {
	Server  string   // its name, as the NS record has it
	Addr    string   // its address and port, "" where it has none
	Records []Record // those of the type that was asked for
	Alias   string   // where a CNAME record at the name leads, "" without one
	Missing bool     // NXDOMAIN: the name does not exist
	Away    bool     // it did not answer at all; Err says why
	Err     error    // why it is not known what this server has; nil: Records is all of it
}

// Has says that the server has the record.
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
		return who + ": a CNAME record that leads to " + plain(v.Alias)
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
	maxShown = 3  // records of one server in an error
	maxData  = 80 // octets of one of them
)

// Lookup asks every address of every authoritative server of the zone for the records of a name, and returns what each
// says, ordered by server and address. An error says that the servers of the zone could not be found.
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
	err   error // why it has no address
}

// servers are the authoritative servers of a zone, by its NS records.
func (c *Client) servers(ctx context.Context, zone Zone) ([]server, error) {
	name := canonical(zone.Name)
	answer, err := c.ask(ctx, name, wire.TypeNS)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range records(answer.Answer, name, Type(wire.TypeNS)) {
		names = append(names, canonical(r.rr.(*wire.NS).Ns))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 || len(names) > maxServers {
		return nil, &Error{Kind: NoZone, Zone: name, Name: name, Detail: fmt.Sprintf("it has %d NS records",
			len(names)),
			Hint: "name a resolver that knows the zone"}
	}
	out := make([]server, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() {
			out[i].name = n
			out[i].addrs, out[i].err = c.endpoints(ctx, n, c.port)
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// views asks all of them at the same time.
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

// look fills in what the server at v.Addr says.
func (c *Client) look(ctx context.Context, v *View, name string, t Type) {
	answer, err := c.exchange(ctx, v.Addr, question(name, uint16(t), false), Key{})
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
	}
}

// disagreeing are the views that say why not every server has the record, by server: an address that is away does not
// count where the same server answers at another one, and has the record there.
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
