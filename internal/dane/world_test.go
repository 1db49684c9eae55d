package dane

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	mail = "_25._tcp.mail.example.org."
	hour = time.Hour
)

func key(name string) Key { return Key{SPKI: []byte("key " + name)} }

// rec is the record 3 1 1 of a key, with a time to live.
func rec(name string, ttl time.Duration) Record { return RecordOf(key(name).ID(), ttl) }

// world is a host, its zone on two servers, and a clock.
type world struct {
	t        *testing.T
	now      time.Time
	in       Input
	servers  map[string][]Record            // what they have of the name mail
	more     map[string]map[string][]Record // what they have of other names
	broken   map[string]string              // servers that answer with an error
	signed   Signed
	failed   string        // why nothing can be looked at
	seen     time.Time     // when the last look was
	jumped   time.Duration // how far the clock was set since then
	took     time.Duration // how long a look takes
	beside   []Server      // what is asked too, of the name mail
	alias    string        // where the CNAME record of all names leads
	aliasTTL int
	wild     bool // the records of the name mail are those of a wildcard name
	last     Decision
}

func newWorld(t *testing.T, mode Mode) *world {
	w := &world{t: t, now: start, signed: SignedYes, broken: map[string]string{},
		more: map[string]map[string][]Record{}, servers: map[string][]Record{"ns1": nil,
			"ns2": nil}}
	w.in = Input{Mode: mode, Names: []string{mail}, TTL: hour, Asks: true, Served: true, Believed: true,
		Pairs: []Pair{{Name: "host", File: "host.key", Present: key("a"), Leaf: []byte("leaf")}}}
	return w
}

// look looks at the DNS and decides.
func (w *world) look() Decision {
	l := Look{At: w.now, Took: w.took}
	for _, name := range Decide(w.in, w.now).Names {
		n := Name{Name: name, Signed: w.signed, Err: w.failed, Alias: w.alias, AliasTTL: w.aliasTTL}
		if w.signed == SignedBogus {
			n.SignedWhy = "the resolver answers SERVFAIL"
		}
		for _, s := range []string{"ns1", "ns2"} {
			n.Servers = append(n.Servers, Server{Name: s + ".example.org.", Addr: "192.0.2.1:53",
				Records: slices.Clone(w.at(name)[s]), Err: w.broken[s], Wild: w.wild})
		}
		if name == mail {
			n.Servers = append(n.Servers, w.beside...)
		}
		l.Names = append(l.Names, n)
	}
	if !w.seen.IsZero() {
		l.Elapsed = w.now.Sub(w.seen) - w.jumped
	}
	w.seen, w.jumped = w.now, 0
	w.in.Memory = w.in.Memory.Saw(l)
	return w.decide()
}

// at is what the servers have of a name.
func (w *world) at(name string) map[string][]Record {
	if name == mail {
		return w.servers
	}
	if w.more[name] == nil {
		w.more[name] = map[string][]Record{}
	}
	return w.more[name]
}

func (w *world) decide() Decision {
	before, _ := json.Marshal(w.in.Memory)
	d := Decide(w.in, w.now)
	if after, _ := json.Marshal(w.in.Memory); string(before) != string(after) {
		w.t.Errorf("Decide has changed its input: %s to %s", before, after)
	}
	if again := Decide(Input{Mode: w.in.Mode, Names: w.in.Names, TTL: w.in.TTL, Pairs: w.in.Pairs, Asks: w.in.Asks,
		Served: w.in.Served, ServedSince: w.in.ServedSince, Believed: w.in.Believed, Memory: d.Memory},
		w.now); !reflect.DeepEqual(again.Memory, d.Memory) {
		w.t.Errorf("a second decision remembers otherwise:\n%+v\n%+v", d.Memory, again.Memory)
	}
	var kept Memory
	data, err := json.Marshal(d.Memory)
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil || !reflect.DeepEqual(kept.Clone(), d.Memory) {
		w.t.Errorf("what is remembered differs after it was stored: %v\n%+v\n%+v", err, d.Memory, kept)
	}
	w.in.Memory, w.last = d.Memory, d
	return d
}

// update makes the edits at these servers.
func (w *world) update(servers ...string) {
	for _, e := range w.last.Edits {
		for _, s := range servers {
			have := w.at(e.Name)[s]
			for _, r := range e.Must {
				if !slices.ContainsFunc(have, r.Same) {
					have = append(have, r)
				}
			}
			have = slices.DeleteFunc(slices.Clone(have), func(r Record) bool {
				return slices.ContainsFunc(e.Drop, r.Same)
			})
			for i := range have {
				for _, r := range e.Retime {
					if r.Same(have[i]) {
						have[i].TTL = r.TTL
					}
				}
			}
			w.at(e.Name)[s] = have
		}
	}
}

func (w *world) pass(d time.Duration, every time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(every, end.Sub(w.now)))
		w.look()
	}
}

// has checks which keys' records both servers have.
func (w *world) has(names ...string) {
	w.t.Helper()
	w.nameHas(mail, names...)
}

// nameHas checks which keys' records both servers have of a name.
func (w *world) nameHas(name string, names ...string) {
	w.t.Helper()
	for s, records := range w.at(name) {
		var got, want []string
		for _, r := range records {
			got = append(got, r.Data[:8])
		}
		for _, n := range names {
			want = append(want, key(n).ID()[:8])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			w.t.Errorf("at %s: %s has %v, must have %v (%v)", w.now, s, got, want, names)
		}
	}
}

func (w *world) stage(want Stage, may bool) {
	w.t.Helper()
	if got := w.last.Stage("host"); got != want || w.last.May("host") != may {
		w.t.Errorf("at %s: stage %q, may %v; must be %q, %v", w.now, got, w.last.May("host"), want, may)
	}
}

// says checks that a note of that grade has all these parts.
func (w *world) says(about About, grade Grade, parts ...string) {
	w.t.Helper()
	for _, n := range w.last.Notes {
		if n.About != about || n.Grade != grade {
			continue
		}
		all := true
		for _, p := range parts {
			all = all && strings.Contains(n.Text+"; "+n.Hint, p)
		}
		if all {
			return
		}
	}
	w.t.Errorf("at %s: no note %s of grade %d has %q: %+v", w.now, about, grade, parts, w.last.Notes)
}

func (w *world) silentOn(about About) {
	w.t.Helper()
	for _, n := range w.last.Notes {
		if n.About == about {
			w.t.Errorf("at %s: %+v", w.now, n)
		}
	}
}

// published brings the world to the state in which the present key's record is everywhere.
func published(t *testing.T, mode Mode) *world {
	w := newWorld(t, mode)
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", hour)}
	}
	w.look()
	return w
}

// waiting brings the world to the moment at which both records have been seen everywhere, and the TTL begins to pass.
func (w *world) waiting() {
	w.t.Helper()
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Rotation, key("b")
	w.decide()
	w.update("ns1", "ns2")
	w.look()
}
