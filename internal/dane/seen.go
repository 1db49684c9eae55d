package dane

import (
	"fmt"
	"slices"
	"time"
)

// seen answers what the looks at the DNS have shown up to now, for the records of these pairs. It decides and changes
// nothing.
type seen struct {
	in  Input
	now time.Time
	m   Memory
}

// named reports whether a name server has a record that the change of a key would break.
func (x *seen) named() bool {
	return slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return n.named()
	})
}

// gone reports whether all records were removed, and resolvers may remember them.
func (x *seen) gone() bool {
	return x.in.Mode == None && x.m.Longest > 0 && x.answered() && !x.named()
}

// forgotten is when no resolver remembers records that were removed.
func (x *seen) forgotten() time.Time {
	return x.lastLook().Add(time.Duration(x.m.Longest-x.m.Lowered+1) * time.Second)
}

// lastLook is when the DNS was last asked, from which a wait is counted, so that its end is the same one at each
// decision. It is now if the DNS was not asked lately.
func (x *seen) lastLook() time.Time {
	if age := x.now.Sub(x.m.Looked); age < 0 || age > longestGap {
		return x.now
	}
	return x.m.Looked
}

// answered reports whether the last look has seen all names.
func (x *seen) answered() bool {
	return !slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return !n.known()
	})
}

// silent reports whether the DNS was asked in vain for so long that a key is changed without it.
func (x *seen) silent() bool {
	until := x.silentUntil()
	return !until.IsZero() && !x.now.Before(until)
}

// silentUntil is when a DNS that gives no answer is waited for no longer; zero: it was not asked yet.
func (x *seen) silentUntil() (until time.Time) {
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		if !n.known() && n.Since.IsZero() {
			return time.Time{}
		}
		if at := n.Since.Add(unansweredFor); !n.known() && at.After(until) {
			until = at
		}
	}
	return until
}

// unanswered are the names of which it is not known whether they have records.
func (x *seen) unanswered() (out []string) {
	for _, name := range x.in.Names {
		if n, _ := x.m.name(name); !n.known() {
			out = append(out, plain(name))
		}
	}
	return out
}

// looked is when the name was looked at whose look is the oldest.
func (x *seen) looked() (at time.Time) {
	for i, name := range x.in.Names {
		if n, _ := x.m.name(name); i == 0 || n.At.Before(at) {
			at = n.At
		}
	}
	return at
}

// lacks says which servers lack the record of a key, and of which it is not known; both nil: every server of every name
// has it.
func (x *seen) lacks(key string) (missing, unknown []string) {
	r := RecordOf(key, 0)
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		no, why := n.lacks(r)
		if len(no) > 0 {
			missing = append(missing, plain(name)+": "+few(no))
		}
		if len(why) > 0 {
			unknown = append(unknown, plain(name)+": "+few(why))
		}
	}
	return missing, unknown
}

// waits says what is missing until every server has the record of a key, and mail hosts use it.
func (x *seen) waits(key string) []string {
	return append(slices.Concat(x.lacks(key)), x.ignored(key)...)
}

// ignored says at which servers mail hosts would ignore the record of a key. When the record with the stronger digest
// is gone, resolvers still remember it, so a wait begins only then.
func (x *seen) ignored(key string) (out []string) {
	var k Key
	for _, p := range x.in.Pairs {
		for _, of := range []Key{p.Present, p.Staged} {
			if of.ID() == key {
				k = of
			}
		}
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		for _, s := range n.Servers {
			r := RecordOf(key, 0)
			if s.Err == "" && slices.ContainsFunc(s.Records, r.Same) && weaker(s.Records, r) &&
				!holds(s.Records, k, nil) {
				out = append(out, fmt.Sprintf("%s: %s: mail hosts ignore the record 3 1 1 of this key, because there "+
					"is a record 3 1 2 of another key", plain(name), s.String()))
			}
		}
	}
	return out
}

// longest is the longest time to live that a record may have in a resolver's memory.
func (x *seen) longest() time.Duration {
	most := time.Duration(x.m.Longest) * time.Second
	if x.in.Mode != None {
		most = max(most, x.in.TTL)
	}
	return most
}

// left is how long the change still has to wait. Where the daemon runs all the time, it is the longest time to live,
// from when every server had the record, and a second, because the times of looks have full seconds.
func (x *seen) left(c Change) time.Duration {
	return x.longest() + time.Second - time.Duration(c.Waited)*time.Second
}

// ends is when the wait ends at the earliest; zero: it does not go on, because of the servers of silent.
func (x *seen) ends(c Change) (at time.Time, silent []string) {
	if _, silent = x.lacks(c.Next); len(silent) > 0 {
		return time.Time{}, silent
	}
	return x.lastLook().Add(max(x.left(c), 0)), nil
}

// recent reports whether the DNS was asked within the last hour. Somebody may have published the first record since an
// earlier look.
func (x *seen) recent() bool {
	age := x.now.Sub(x.m.Looked)
	return age <= fresh && age >= -fresh
}

// obstacles are why a key may not be changed although its record has been in the DNS for long enough.
func (x *seen) obstacles(c Change) (out []string) {
	if !x.in.Believed {
		out = append(out, "mailcertd does not believe the clock of this host, and another problem says why")
	}
	_, unknown := x.lacks(c.Next)
	out = append(out, unknown...)
	if age := x.now.Sub(x.looked()); age > fresh || age < -fresh {
		out = append(out, "the last answers of the DNS are more than an hour old")
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		if n.Signed == SignedBogus && n.Err == "" {
			out = append(out, fmt.Sprintf("%s: %s", plain(name), n.SignedWhy))
		}
	}
	return out
}

// missing reports whether a name server is known to lack the record of a key.
func (x *seen) missing(key string) bool {
	missing, _ := x.lacks(key)
	return key != "" && len(missing) > 0
}

// served reports whether a pair is installed, so that a record may have been published for it.
func (x *seen) served() bool {
	return slices.ContainsFunc(x.in.Pairs, func(p Pair) bool { return p.Present.ID() != "" })
}

// ours are the records of a name that are 3 1 1 records of keys of this host.
func (x *seen) ours(n Name) (out []Line) {
	keys := map[string]string{} // the names of the pairs, by the IDs of the keys
	for _, o := range x.m.Old {
		keys[o.Key] = o.Pair
	}
	for pair, c := range x.m.Changes {
		keys[c.Next] = pair
	}
	for _, p := range x.in.Pairs {
		keys[p.Present.ID()] = p.Name
	}
	for _, r := range n.Records() {
		if pair, is := keys[r.Data]; is && r.Same(RecordOf(r.Data, 0)) {
			out = append(out, Line{n.Name, r, pair})
		}
	}
	return out
}

// otherTTL is the time to live of a record, at any server of the zone, that is not that of the configuration, in
// seconds; zero: all have that one. Records of a wildcard name have their own.
func (x *seen) otherTTL(n Name) int {
	for _, s := range n.Servers {
		for _, r := range s.Records {
			if s.Err == "" && s.Beside == "" && !s.Wild && r.TTL != RecordOf("", x.in.TTL).TTL {
				return r.TTL
			}
		}
	}
	return 0
}

// ttl is the time to live of the records that are added: where others publish, the one that theirs have.
func (x *seen) ttl() time.Duration {
	if x.in.Mode == None && x.m.Longest > 0 {
		return time.Duration(x.m.Longest) * time.Second
	}
	return x.in.TTL
}

// remembered reports whether there are records that a key may not fit, or a resolver may remember some.
func (x *seen) remembered() bool { return x.named() || x.m.Longest > 0 }
