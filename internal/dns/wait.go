package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The pause between two rounds of questions grows from the first value to the last.
const (
	firstStep = 250 * time.Millisecond
	lastStep  = 15 * time.Second
)

// Wait asks every authoritative server of the zone again and again, until all answer with the record or the context
// ends. In that case the error is a Disagree, which names the servers without the record and what they have instead.
func (c *Client) Wait(ctx context.Context, zone Zone, r Record) error {
	servers, err := c.servers(ctx, zone)
	if err != nil {
		return err
	}
	var last []View
	for step := firstStep; ; step = min(2*step, lastStep) {
		for i, s := range servers {
			if s.err != nil { // meanwhile the resolver may know its address
				servers[i].addrs, servers[i].err = c.endpoints(ctx, s.name, c.port)
			}
		}
		views := c.views(ctx, servers, r.Name(), r.Type())
		if !over(ctx) || last == nil { // otherwise the deadline has cut this round short, and the last one counts
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

// over reports whether the deadline of ctx has passed. A question that the deadline cuts short may return before the
// context's own timer has run.
func over(ctx context.Context) bool {
	end, has := ctx.Deadline()
	return ctx.Err() != nil || has && time.Until(end) <= 0
}

// without returns the servers that have not yet answered with the record.
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
		Hint: "check the zone transfer from the primary server to " + strings.Join(slices.Compact(names), " and ")}
}
