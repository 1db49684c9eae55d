package dane

import (
	"maps"
	"slices"
	"time"
)

// Memory is what must be remembered between two decisions. Times are UTC with full seconds.
type Memory struct {
	Looked time.Time `json:"looked,omitzero"` // when the DNS was last asked, whatever came of it
	// Elapsed is how long before Looked the DNS was last asked, in seconds, by a clock that nobody sets; zero: it is
	// not known.
	Elapsed int `json:"elapsed,omitempty"`
	// Took is how long after Looked the last answer came, in seconds: only then did every server have what was seen.
	Took  int    `json:"took,omitempty"`
	Names []Name `json:"names,omitempty"`
	// Longest is the longest time to live with which a resolver may remember records that a change of a key would
	// break, in seconds; zero: there are none.
	Longest int `json:"longest_ttl,omitempty"`
	// LoweredAt is when every record was first seen with a shorter one, or gone; zero: one has it. Lowered is for how
	// long that is so, in seconds, by a clock that nobody sets, and LoweredTo is the longest one seen meanwhile.
	LoweredAt time.Time `json:"ttl_lowered_at,omitzero"`
	Lowered   int       `json:"ttl_lowered_for,omitempty"`
	LoweredTo int       `json:"ttl_lowered_to,omitempty"`
	// Present are the IDs of the installed keys, by the names of the pairs.
	Present map[string]string `json:"present,omitempty"`
	// Changes are the changes of keys that are not complete, by the names of the pairs.
	Changes map[string]Change `json:"changes,omitempty"`
	// Known are the records 3 1 1 that every server has, by the IDs of their keys.
	Known map[string]Known `json:"known,omitempty"`
	// Old are keys that are no longer used, and whose records may still be in the DNS.
	Old []Old `json:"old,omitempty"`
}

// Why is the cause of a change of a key.
type Why string

// The causes.
const (
	Asked    Why = "asked"    // a person asked for it
	Rotation Why = "rotation" // the key is older than it may be
	// AtOnce: the key was changed before its record had been in the DNS for long enough, because the old one was lost
	// or a person wanted it so.
	AtOnce Why = "at-once"
	// Added: the pair is new, and there were records already, which its key does not fit.
	Added Why = "added"
	// First: the pair is new, there are records already, and sendmail.cf names the pair: its first key is made in
	// advance as every next one.
	First Why = "first"
	// Resumed: the state was lost, and a next key was found that had been made before.
	Resumed Why = "resumed"
)

// installed reports whether the next key of such a change is the installed one, whose record has to become known.
func (w Why) installed() bool { return w == AtOnce || w == Added }

// Change is one change of a pair's key.
type Change struct {
	Why   Why       `json:"why"`
	Since time.Time `json:"since"`
	Next  string    `json:"next,omitempty"` // the ID of the next key; "": it is not made yet
	Made  time.Time `json:"made,omitzero"`
	// Seen is when every server was first seen to have the record of the next key, and Agreed when it was last seen so;
	// zero: not every server has it.
	Seen   time.Time `json:"seen,omitzero"`
	Agreed time.Time `json:"agreed,omitzero"`
	// Waited is for how long every server has had the record, in seconds. It is the sum of the times between looks, by
	// a clock that nobody sets, of which each counts at most longestGap. It begins below zero, because the look that
	// has found it so has taken some time.
	Waited int `json:"waited,omitempty"`
}

// Old is a key that is no longer used.
type Old struct {
	Pair  string    `json:"pair"`
	Key   string    `json:"key"`   // its ID
	Since time.Time `json:"since"` // since when another one is used
	// Unused says that it was made and never used.
	Unused bool `json:"unused,omitempty"`
}

// Clone is a deep copy in which empty lists and maps are nil.
func (m Memory) Clone() Memory {
	m.Present, m.Changes, m.Old = cloned(m.Present), cloned(m.Changes), some(m.Old)
	m.Known = cloned(m.Known)
	m.Names = some(m.Names)
	for i := range m.Names {
		n := &m.Names[i]
		n.Servers = some(n.Servers)
		for j := range n.Servers {
			n.Servers[j].Records = some(n.Servers[j].Records)
		}
	}
	return m
}

func cloned[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

func some[V any](s []V) []V {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// Saw is the memory after a look. Of a name that the look could not see it keeps what was known, unless the reason was
// that its signatures are wrong.
func (m Memory) Saw(l Look) Memory {
	out, at := m.Clone(), l.At.UTC().Truncate(time.Second)
	out.Looked, out.Elapsed, out.Names = at, max(0, int(l.Elapsed/time.Second)), nil
	out.Took = int(l.At.Add(l.Took).Sub(at) / time.Second)
	longest := 0
	for _, n := range l.Names {
		if n.Err != "" {
			before, _ := m.name(n.Name)
			now := n
			n = before
			n.Err = now.Err
			if now.Signed == SignedBogus {
				n.Signed, n.SignedWhy = now.Signed, now.SignedWhy
			}
			if n.Since.IsZero() {
				n.Since = at
			}
		} else {
			before, seen := m.name(n.Name)
			if seen && before.Alias != n.Alias {
				out.moved(before)
			}
			n.At, n.Since, n.Servers = at, time.Time{}, leaving(before.Servers, n.Servers, out.Elapsed)
		}
		out.Names = append(out.Names, n)
		longest = max(longest, n.longest())
	}
	out.sawTTL(longest)
	return out.Clone()
}

// moved notes that the CNAME records of a name lead elsewhere, or are gone. Resolvers may remember those of before, and
// ask for the records there until the last moment: no wait counts that began before.
func (m *Memory) moved(before Name) {
	if most := before.AliasTTL + before.longest(); before.longest() > 0 && most > m.Longest {
		m.Longest, m.LoweredAt, m.Lowered, m.LoweredTo = most, time.Time{}, 0, 0
	}
	for pair, c := range m.Changes {
		c.Seen, c.Agreed, c.Waited = time.Time{}, time.Time{}, 0
		m.Changes[pair] = c
	}
	m.Known = nil
}

// leaving are the servers of a look, without those that have not been servers of the zone for so long that no resolver
// asks them.
func leaving(before, now []Server, elapsed int) (out []Server) {
	for _, s := range now {
		for _, was := range before {
			if s.Beside == Former && was.Beside == Former && was.Addr == s.Addr {
				s.Left = was.Left + elapsed
			}
		}
		if time.Duration(s.Left)*time.Second <= formerFor {
			out = append(out, s)
		}
	}
	return out
}

// sawTTL notes the longest time to live of a look. A longer one that was seen before counts until no resolver can
// remember a record with it.
func (m *Memory) sawTTL(seen int) {
	switch {
	case seen >= m.Longest:
		m.Longest, m.LoweredAt, m.Lowered, m.LoweredTo = seen, time.Time{}, 0, 0
		return
	case m.LoweredAt.IsZero():
		m.LoweredAt, m.Lowered, m.LoweredTo = m.Looked, -m.Took, seen
		return
	}
	passed := m.Elapsed
	if m.Lowered <= 0 { // another process may have seen it first, after the last look of this one
		passed = min(passed, since(m.LoweredAt, m.Looked))
	}
	m.Lowered, m.LoweredTo = m.Lowered+passed, max(m.LoweredTo, seen)
	if m.Lowered <= m.Longest {
		return
	}
	m.Longest, m.LoweredAt, m.Lowered = m.LoweredTo, time.Time{}, 0
	if m.LoweredTo = 0; seen < m.Longest { // it was lowered again meanwhile
		m.LoweredAt, m.Lowered, m.LoweredTo = m.Looked, -m.Took, seen
	}
}

// name returns what is known of a name.
func (m Memory) name(name string) (Name, bool) {
	for _, n := range m.Names {
		if n.Name == name {
			return n, true
		}
	}
	return Name{Name: name}, false
}

// Newer is the one of two memories that has seen more.
func (m Memory) Newer(o Memory) Memory {
	if o.Looked.After(m.Looked) {
		return o
	}
	return m
}

// change edits the change of a pair.
func (m *Memory) change(pair string, c Change) {
	if m.Changes == nil {
		m.Changes = map[string]Change{}
	}
	m.Changes[pair] = c
}

// retire notes a key that is no longer used.
func (m *Memory) retire(pair, key string, now time.Time, unused bool) {
	if key == "" || slices.ContainsFunc(m.Old, func(o Old) bool { return o.Key == key }) {
		return
	}
	m.Old = append(m.Old, Old{Pair: pair, Key: key, Since: now, Unused: unused})
}

// revive forgets that a key is no longer used.
func (m *Memory) revive(key string) {
	m.Old = slices.DeleteFunc(slices.Clone(m.Old), func(o Old) bool { return o.Key == key })
}

// since is how many seconds lie between two times; 0 where the clock was set back.
func since(from, to time.Time) int { return max(0, int(to.Sub(from)/time.Second)) }
