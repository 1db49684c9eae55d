package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The steps between two rounds of questions grow from the first to the last.
const (
	firstStep = 250 * time.Millisecond
	lastStep  = 15 * time.Second
)

// Wait waits until every authoritative server of the zone answers with the record, and asks them again and again until
// the context ends. The error then is a Disagree that names the servers without it, and what they have in its place.
func (c *Client) Wait(ctx context.Context, zone Zone, r Record) error {
	servers, err := c.servers(ctx, zone)
	if err != nil {
		return err
	}
	var last []View
	for step := firstStep; ; step = min(2*step, lastStep) {
		for i, s := range servers {
			if s.err != nil { // the resolver may know its address by now
				servers[i].addrs, servers[i].err = c.endpoints(ctx, s.name, c.port)
			}
		}
		views := c.views(ctx, servers, r.Name(), r.Type())
		if !over(ctx) || last == nil { // else the end of the time has cut it short
			last = disagreeing(views, r)
		}
		if len(last) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return notEverywhere(ctx.Err(), zone, r, last)
		case <-time.After(step):
		}
		servers = without(servers, last)
	}
}

// over says whether the deadline of ctx has passed. A question that it cuts short may return before the context's own
// timer has run.
func over(ctx context.Context) bool {
	end, has := ctx.Deadline()
	return ctx.Err() != nil || has && time.Until(end) <= 0
}

// without are the servers that still have to answer with the record.
func without(servers []server, disagree []View) []server {
	var out []server
	for _, s := range servers {
		for _, v := range disagree {
			if v.Server == s.name {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

func notEverywhere(err error, zone Zone, r Record, views []View) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var said, names []string
	for _, v := range views {
		said = append(said, v.String())
		names = append(names, plain(v.Server))
	}
	return &Error{Kind: Disagree, Zone: zone.Name, Name: r.Name(), Views: views, Err: err,
		Detail: fmt.Sprintf("not every authoritative server has its %s record yet: %s", r.Type(), strings.Join(said,
			"; ")),
		Hint: "look why " + strings.Join(slices.Compact(names), " and ") + " does not follow the primary server"}
}
