package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"

	wire "github.com/miekg/dns"
)

// maxAmend is how often Amend begins again because the records have changed since it read them.
const maxAmend = 3

// Amendment is what the records of one name and type must be.
type Amendment struct {
	Must, Drop []Record // the records that must be there, and those that must not
	// Retime are records that get their time to live, if they are there with another one and no record but these is
	// there: the time to live belongs to all records of a name and type together (RFC 2181, section 5.2).
	Retime []Record
}

// Amend lets the server that takes the updates of a zone have the records of an amendment, in one step; all of them are
// of that name and type. It changes no other record. The prerequisites of the update (RFC 2136, section 2.4)
// are the records that the server had a moment before, so that a change that somebody else makes in between is seen and
// never built upon. changed is false where nothing had to be changed.
func (c *Client) Amend(ctx context.Context, zone Zone, name string, t Type, to Amendment) (changed bool,
	err error) {
	name, zone.Name = canonical(name), canonical(zone.Name)
	for range maxAmend {
		changed = false
		err = c.send(ctx, zone, name, t, func(addr string) (*wire.Msg, error) {
			have, wild, err := c.have(ctx, addr, name, t)
			if err != nil {
				return nil, err
			}
			m := amendment(zone.Name, name, t, have, to)
			if wild && m != nil { // those do not count for a name with records of its own, so it gets all of them
				all := slices.Concat(to.Must, kept(have, to.Must, to.Drop))
				m = amendment(zone.Name, name, t, nil, Amendment{Must: all})
			}
			changed = m != nil
			return m, nil
		})
		if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != Changed {
			break
		}
	}
	return changed && err == nil, err
}

// amendment makes the update of Amend; nil: nothing has to be changed.
func amendment(zone, name string, t Type, have []Record, to Amendment) *wire.Msg {
	in := func(all []Record, r Record) bool { return slices.ContainsFunc(all, r.Same) }
	var add, remove []wire.RR
	for _, r := range to.Must {
		if !in(have, r) {
			add = append(add, wire.Copy(r.rr))
		}
	}
	for _, r := range have {
		if in(to.Drop, r) && !in(to.Must, r) {
			remove = append(remove, wire.Copy(r.rr))
		}
	}
	others := slices.ContainsFunc(have, func(r Record) bool { return !in(to.Retime, r) })
	for _, r := range to.Retime {
		differs := func(h Record) bool { return h.Same(r) && h.TTL() != r.TTL() }
		// Adding a record that is there replaces its time to live (RFC 2136, section 3.4.2.2).
		if !others && slices.ContainsFunc(have, differs) && (in(to.Must, r) || !in(to.Drop, r)) {
			add = append(add, wire.Copy(r.rr))
		}
	}
	if len(add)+len(remove) == 0 {
		return nil
	}
	m := new(wire.Msg)
	m.SetUpdate(zone)
	if len(have) == 0 {
		m.RRsetNotUsed([]wire.RR{&wire.ANY{Hdr: wire.RR_Header{Name: name, Rrtype: uint16(t)}}})
	} else {
		var all []wire.RR
		for _, r := range have {
			all = append(all, wire.Copy(r.rr))
		}
		m.Used(all)
	}
	// The records are added first: a server that stopped between the two would not leave the name without a record.
	m.Insert(add)
	m.Remove(remove)
	return m
}

// kept are the records that are neither in must nor in drop.
func kept(have, must, drop []Record) []Record {
	return slices.DeleteFunc(slices.Clone(have), func(r Record) bool {
		return slices.ContainsFunc(must, r.Same) || slices.ContainsFunc(drop, r.Same)
	})
}

// have asks the server at addr for the records of a name. wild: they are those of a wildcard name.
func (c *Client) have(ctx context.Context, addr, name string, t Type) (all []Record, wild bool, err error) {
	answer, err := c.exchange(ctx, addr, signed(question(name, uint16(t), false)), Key{})
	switch {
	case err != nil:
		return nil, false, err
	case answer.Rcode != wire.RcodeSuccess && answer.Rcode != wire.RcodeNameError:
		return nil, false, errors.New("asked for the present records, it answers " + rcode(answer.Rcode))
	case !answer.Authoritative:
		return nil, false, errLame
	}
	if to := alias(answer.Answer, name); to != "" {
		return nil, false, fmt.Errorf("a CNAME record leads from this name to %s", plain(to))
	}
	return records(answer.Answer, name, t), isWild(answer.Answer, name, t), nil
}
