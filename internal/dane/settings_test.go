package dane

import (
	"slices"
	"testing"
	"time"
)

const (
	other = "_25._tcp.mx.example.org."
	port  = "_587._tcp.mail.example.org."
)

// lines are the records at the names, by the keys' names in these tests.
func lines(all []Line) (out []string) {
	for _, l := range all {
		for _, k := range []string{"a", "b", "c", "e", "f"} {
			if l.Record.Data == key(k).ID() {
				out = append(out, l.Name+" "+k)
			}
		}
	}
	return out
}

func (w *world) lines(what string, got []Line, want ...string) {
	w.t.Helper()
	if !slices.Equal(lines(got), want) {
		w.t.Errorf("at %s: %s: %q, must be %q", w.now, what, lines(got), want)
	}
}

// Who publishes is changed in the middle of a change: what was published stays known, and each record of an old key is
// removed by whoever publishes then.
func TestPublisherChanges(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(30*time.Minute, 5*time.Minute)
	w.in.Mode = None // a person looks after the records now
	w.look()
	w.stage(Waiting, false)
	w.lines("to add", w.last.Add)
	w.pass(hour, 5*time.Minute)
	w.stage(Ready, true)
	w.in.Pairs[0].Present, w.in.Pairs[0].Staged, w.in.Pairs[0].Want = key("b"), Key{}, ""
	w.decide()
	w.pass(hour, 5*time.Minute)
	if len(w.last.Edits) > 0 {
		t.Errorf("mailcertd still publishes: %+v", w.last.Edits)
	}
	w.lines("to remove", w.last.Remove, mail+" a")
	w.says(AboutRemove, Notice, "remove it", key("a").ID())
	w.in.Mode = Manual
	w.look()
	w.lines("to remove", w.last.Remove, mail+" a")
	w.in.Mode = Update
	w.look()
	w.update("ns1", "ns2")
	w.has("b")
	w.look()
	if m := w.last.Memory; len(m.Old)+len(m.Changes) > 0 {
		t.Errorf("something is left: %+v", m)
	}
}

// A name comes in the middle of a change: the change waits until its servers have the record too. A name goes: a person
// is told of its records, which mailcertd may no longer change, until they are gone.
func TestNamesChange(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(50*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.in.Names = []string{mail, other, port}
	w.decide()
	if w.last.LookAt.After(w.now) {
		t.Error("the new names are not looked at at once")
	}
	w.look()
	w.stage(Publishing, false)
	w.update("ns1", "ns2")
	w.look()
	w.stage(Waiting, false)
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(61*time.Second, hour)
	w.stage(Ready, true)
	w.nameHas(other, "a", "b")
	w.in.Names = []string{mail}
	for s := range w.more[other] { // others have a record there, too
		w.more[other][s] = append(w.more[other][s], rec("x", hour))
	}
	w.look()
	w.lines("former", w.last.Former, other+" a", other+" b", port+" a", port+" b")
	w.says(AboutRemove, Warning, "no longer have _25._tcp.mx.example.org", key("b").ID())
	w.in.Pairs[0].Present, w.in.Pairs[0].Staged, w.in.Pairs[0].Want = key("b"), Key{}, ""
	w.pass(3*hour, hour)
	w.update("ns1", "ns2")
	w.has("b")
	w.nameHas(port, "a", "b") // these names are not mailcertd's to change
	w.lines("former", w.last.Former, other+" a", other+" b", port+" a", port+" b")
	w.more[other]["ns1"], w.more[other]["ns2"] = []Record{rec("x", hour)}, nil
	w.look()
	w.lines("former", w.last.Former, port+" a", port+" b")
	w.in.Names = nil // the name of the host is not known for a moment
	w.look()
	w.lines("former", w.last.Former)
	w.in.Names = []string{mail}
	w.look()
	w.lines("former", w.last.Former, port+" a", port+" b")
	w.more[port] = map[string][]Record{}
	w.look()
	w.silentOn(AboutRemove)
	w.look()
	if m := w.last.Memory; len(m.Old)+len(m.Changes) > 0 || len(m.Names) != 1 {
		t.Errorf("something is left: %+v", m)
	}
}

// The time to live of the configuration changes in the middle of a change: the longest one that was ever out counts.
func TestTTLChanges(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(30*time.Minute, 5*time.Minute)
	w.in.TTL = time.Minute
	w.pass(29*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.in.TTL = 2 * hour
	w.pass(hour, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(2*time.Minute, time.Minute)
	w.stage(Ready, true)
}

// Both keys were lost, several names have their records: all of them are first in line at every name.
func TestLostKeysAtManyNames(t *testing.T) {
	for _, mode := range []Mode{Update, Manual} {
		w := newWorld(t, mode)
		w.in.Names = []string{mail, other, port}
		w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e")})
		person := func() {
			if mode == Update {
				w.update("ns1", "ns2")
				return
			}
			for _, l := range w.last.Add {
				for _, s := range []string{"ns1", "ns2"} {
					w.at(l.Name)[s] = append(w.at(l.Name)[s], l.Record)
				}
			}
			for _, l := range w.last.Remove {
				for _, s := range []string{"ns1", "ns2"} {
					w.at(l.Name)[s] = slices.DeleteFunc(slices.Clone(w.at(l.Name)[s]), l.Record.Same)
				}
			}
		}
		w.look()
		person()
		w.look()
		w.in.Pairs[0].Present, w.in.Pairs[1].Present = key("b"), key("f")
		w.in.Served = false // sendmail still uses the lost keys, which it has in memory
		w.decide()
		w.stage(Settling, false)
		w.lines("to add", w.last.Add, mail+" b", mail+" f", other+" b", other+" f", port+" b", port+" f")
		w.lines("to remove", w.last.Remove)
		w.says(AboutChange, Error, "do not deliver", "_587._tcp.mail.example.org")
		person()
		w.look()
		w.pass(2*hour, 5*time.Minute)
		w.lines("to remove", w.last.Remove) // not before sendmail uses the new keys
		w.in.Served, w.in.ServedSince = true, w.now
		w.pass(hour+time.Second, 5*time.Minute)
		person()
		w.look()
		for _, name := range w.in.Names {
			w.nameHas(name, "b", "f")
		}
		if m := w.last.Memory; len(m.Old)+len(m.Changes) > 0 {
			t.Errorf("%s: something is left: %+v", mode, m)
		}
	}
}

// A new key that is asked for while the last change is not over is refused aloud, and one that is asked for during a
// rotation takes over the change.
func TestAskedDuringAChange(t *testing.T) {
	w := published(t, Update)
	w.in.Pairs[0].Present = key("c")
	w.look()
	w.stage(Settling, false)
	w.in.Pairs[0].Want = Asked
	w.decide()
	w.says(AboutChange, Error, "that was asked for is not made", "--now")

	w = published(t, Update)
	w.waiting() // for a rotation
	w.in.Pairs[0].Want, w.in.Pairs[0].Rotates = Asked, false
	w.look()
	w.in.Pairs[0].Want = ""
	w.look()
	w.stage(Waiting, false)
	if why := w.last.Memory.Changes["host"].Why; why != Asked {
		t.Errorf("the change is a %s", why)
	}
}

// mailcertd was killed before it saw the record that it had published, and stays away while the key is lost: the record
// is not forgotten for the reason that no look has seen it.
func TestUnseenRecordIsNotForgotten(t *testing.T) {
	w := newWorld(t, Update)
	w.look()
	w.update("ns1", "ns2")
	w.in.Pairs[0].Present = key("b")
	w.decide()
	w.now = w.now.Add(3 * hour)
	w.decide()
	w.look()
	w.update("ns1", "ns2")
	w.pass(2*hour, 5*time.Minute)
	w.update("ns1", "ns2")
	w.has("b")
}
