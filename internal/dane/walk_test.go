package dane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// past is what a server had until a moment. Resolvers may remember it for a time to live after that.
type past struct {
	records []Record
	until   time.Time
}

// Whatever happens, in whatever order, to name servers, daemons and clocks: no resolver ever remembers records that the
// key in use does not fit, unless the key was lost. Each walk is another order of events.
func TestWalks(t *testing.T) {
	var all walked
	for seed := range uint64(60) {
		n := walk(t, rand.New(rand.NewPCG(seed, 1)), seed, []Mode{Update, Manual, None}[seed%3])
		all.changed, all.lost, all.forgot = all.changed+n.changed, all.lost+n.lost, all.forgot+n.forgot
		all.waited, all.named = all.waited+n.waited, all.named+n.named
	}
	if all.changed < 40 || all.lost < 20 || all.forgot < 20 || all.waited < 20 || all.named < 20 {
		t.Errorf("the walks have too little of something: %+v", all)
	}
}

// walked is how many keys were changed or lost, how often the state was lost, how many second pairs have waited for
// their record, and how many were there before sendmail.cf named them.
type walked struct{ changed, lost, forgot, waited, named int }

func walk(t *testing.T, r *rand.Rand, seed uint64, mode Mode) (n walked) {
	w := published(t, mode)
	most := 180 * time.Minute // no time to live is longer
	ttl := time.Duration(1+r.IntN(180)) * time.Minute
	w.in.TTL = ttl
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", ttl)}
	}
	w.in.Memory = Memory{}
	w.look()
	really := start // the time without the steps of the clock
	var history []past
	keys, lag, broken := 0, false, time.Time{}
	steady := r.IntN(2) == 0 // the time to live stays, so that it may be forgotten
	inUse := func(id string) bool {
		return slices.ContainsFunc(w.in.Pairs, func(p Pair) bool { return p.Present.ID() == id && !p.Idle })
	}
	next := func() Key {
		keys++
		return key(fmt.Sprintf("k%d", keys))
	}
	set := func(s string, records []Record) {
		if !slices.Equal(w.servers[s], records) {
			history = append(history, past{w.servers[s], really})
		}
		w.servers[s] = records
	}
	for range 500 {
		step := time.Duration(1+r.IntN(300)) * time.Second
		really, w.now = really.Add(step), w.now.Add(step)
		switch r.IntN(40) {
		case 0:
			w.in.Pairs[0].Want = Asked
		case 1:
			lag = !lag
		case 2: // a person deletes all records of one key, but not of the one in use
			gone := rec(fmt.Sprintf("k%d", r.IntN(keys+1)), 0)
			if !inUse(gone.Data) {
				for s, have := range w.servers {
					set(s, slices.DeleteFunc(slices.Clone(have), gone.Same))
				}
			}
		case 3:
			w.jumped = time.Duration(r.IntN(40)-20) * hour
			w.now = w.now.Add(w.jumped)
		case 4: // the daemon is stopped for a while
			pause := time.Duration(r.IntN(300)) * time.Minute
			really, w.now, w.seen = really.Add(pause), w.now.Add(pause), time.Time{}
		case 5:
			w.broken["ns2"] = map[bool]string{true: "SERVFAIL"}[r.IntN(2) == 0]
		case 6:
			w.in.Served = !w.in.Served
		case 9: // somebody changes the time to live of all records, or of those to come
			if steady {
				break
			}
			if ttl = time.Duration(1+r.IntN(180)) * time.Minute; r.IntN(2) == 0 {
				w.in.TTL = ttl
				break
			}
			for s, have := range w.servers {
				have = slices.Clone(have)
				for i := range have {
					have[i].TTL = int(ttl / time.Second)
				}
				set(s, have)
			}
		case 10: // where a person publishes for mailcertd to look at: all records go, or the first one comes
			if mode != None || w.in.Memory.Looked.IsZero() { // nobody can know what was there before the state was lost
				break
			}
			var all []Record
			if len(w.servers["ns1"]) == 0 {
				for _, p := range w.in.Pairs {
					if p.Present.ID() != "" && !p.Idle {
						all = append(all, RecordOf(p.Present.ID(), ttl))
					}
				}
			}
			for s := range w.servers {
				set(s, all)
			}
		case 7:
			if w.in.Pairs[0].Staged.ID() != "" && r.IntN(4) == 0 {
				w.in.Pairs[0].Staged = Key{}
			}
		case 8:
			if r.IntN(8) == 0 {
				n.lost++
				w.in.Pairs[0].Present = next()
				broken = really
			}
		case 11: // a second pair is configured, and sendmail.cf names it or does not
			if unknown := mode == None && w.in.Memory.Looked.IsZero(); len(w.in.Pairs) == 1 && !unknown {
				p := Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Want: First}
				if r.IntN(2) == 0 {
					p.Idle, p.Want, p.Present = true, "", next()
				}
				w.in.Pairs = append(w.in.Pairs, p)
			} else if len(w.in.Pairs) == 2 && r.IntN(4) == 0 { // it is not configured any more
				w.in.Pairs = w.in.Pairs[:1]
			}
		case 12: // the state is lost while the records are there
			if c := w.in.Memory.Changes["host"]; !steady || mode != Update && len(w.servers["ns1"]) == 0 ||
				w.broken["ns2"] != "" || c.Why == AtOnce { // AboutWrong says what to do then
				break
			}
			w.in.Memory, w.seen = Memory{}, time.Time{}
			n.forgot++
		}
		d := w.decide()
		if forgot := w.seen.IsZero() && w.in.Memory.Looked.IsZero(); !forgot || r.IntN(2) == 0 {
			d = w.look() // otherwise mailcertd decides before it asks the DNS
		}
		if len(w.in.Pairs) > 1 {
			p := &w.in.Pairs[1]
			switch stage := d.Stage(p.Name); {
			case p.Want == First && stage == Making:
				p.Staged = next()
			case p.Want == First && d.Under(p.Name) && d.May(p.Name):
				p.Present, p.Staged, p.Want, p.Placeholder = p.Staged, Key{}, "", false
				n.waited++
			case p.Want == First && !d.Under(p.Name):
				p.Present, p.Want = next(), ""
			case p.Idle && stage == "" && !w.in.Memory.Looked.IsZero() && r.IntN(20) == 0:
				p.Idle = false
				n.named++
			}
			p.Placeholder = p.Want == First
		}
		want := w.in.Pairs[0].Want
		w.in.Pairs[0].Want = ""
		switch {
		case d.Stage("host") == "" && want != "" && d.May("host"):
			n.changed++
			w.in.Pairs[0].Present = next()
		case d.Stage("host") == Making:
			w.in.Pairs[0].Staged = next()
		case d.Stage("host") == Ready && d.May("host"):
			w.in.Pairs[0].Present, w.in.Pairs[0].Staged = w.in.Pairs[0].Staged, Key{}
			n.changed++
		}
		d = w.decide()
		before := map[string][]Record{"ns1": w.servers["ns1"], "ns2": w.servers["ns2"]}
		if mode == Update {
			w.update("ns1")
		} else if r.IntN(20) == 0 { // a person does what the last message said
			for _, l := range d.Add {
				w.servers["ns1"] = append(slices.Clone(w.servers["ns1"]), l.Record)
			}
			for _, l := range d.Remove {
				w.servers["ns1"] = slices.DeleteFunc(slices.Clone(w.servers["ns1"]), l.Record.Same)
			}
		}
		after := w.servers["ns1"]
		w.servers["ns1"] = before["ns1"]
		set("ns1", after)
		if !lag && r.IntN(3) == 0 {
			set("ns2", slices.Clone(w.servers["ns1"]))
		}
		// Nothing more is promised until the record of a key that was changed at once is known everywhere.
		if _, under := d.Memory.Changes["host"]; under && d.Memory.Changes["host"].Why == AtOnce {
			broken = really
		}
		if !broken.IsZero() && really.Sub(broken) < 4*most {
			continue
		}
		for _, p := range append(history, past{w.servers["ns1"], really}, past{w.servers["ns2"], really}) {
			remembered := 0
			for _, r := range p.records {
				remembered = max(remembered, r.TTL)
			}
			for _, pair := range w.in.Pairs {
				if really.Sub(p.until) < time.Duration(remembered)*time.Second && len(p.records) > 0 && !pair.Idle &&
					pair.Present.ID() != "" && !holds(p.records, pair.Present, nil) {
					t.Fatalf("walk %d, at %s (the clock says %s): a resolver may remember %v, and the key of the pair "+
						"%s is %s", seed, really, w.now, p.records, pair.Name, pair.Present.ID())
				}
			}
		}
		history = slices.DeleteFunc(history, func(p past) bool { return really.Sub(p.until) > 24*hour })
	}
	return n
}
