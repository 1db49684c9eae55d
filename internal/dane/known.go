package dane

import (
	"slices"
	"time"
)

// Known is a record 3 1 1 of another key that every server has. A person may publish the record of a key first, and
// bring the key later.
type Known struct {
	Seen   time.Time `json:"seen"`   // when every server was first seen to have it
	Agreed time.Time `json:"agreed"` // when it was last seen so
	Waited int       `json:"waited,omitempty"`
}

// maxKnown bounds the records that are remembered.
const maxKnown = 16

// noteKnown notes for how long every server has had each record.
func (x *decider) noteKnown() {
	was := x.m.Known
	x.m.Known = nil
	if !x.d.Governed || len(x.in.Names) == 0 {
		return
	}
	n, _ := x.m.name(x.in.Names[0])
	for _, r := range n.Records() {
		ours := slices.ContainsFunc(x.in.Pairs, func(p Pair) bool {
			return p.Present.ID() == r.Data || x.m.Present[p.Name] == r.Data || x.m.Changes[p.Name].Next == r.Data
		}) || slices.ContainsFunc(x.m.Old, func(o Old) bool { return o.Key == r.Data })
		if ours || !r.Same(RecordOf(r.Data, 0)) || len(x.m.Known) == maxKnown {
			continue
		}
		k := was[r.Data]
		c := x.agree(Change{Next: r.Data, Seen: k.Seen, Agreed: k.Agreed, Waited: k.Waited})
		if c.Seen.IsZero() {
			continue
		}
		if x.m.Known == nil {
			x.m.Known = map[string]Known{}
		}
		x.m.Known[r.Data] = Known{c.Seen, c.Agreed, c.Waited}
	}
}

// getsKnown reports whether a record of another key has not been there for long enough.
func (x *decider) getsKnown() bool {
	for _, k := range x.m.Known {
		if x.left(Change{Waited: k.Waited}) > 0 {
			return true
		}
	}
	return false
}

// Knows reports whether resolvers know the record of the key with that ID: it may be installed.
func (d Decision) Knows(key string) bool { return slices.Contains(d.known, key) }

// knows are the keys whose records resolvers know.
func (x *decider) knows() (out []string) {
	if !x.recent() || !x.in.Believed {
		return nil
	}
	for id, k := range x.m.Known {
		_, unknown := x.lacks(id)
		if len(unknown) == 0 && x.left(Change{Waited: k.Waited}) <= 0 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
