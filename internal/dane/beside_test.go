package dane

import (
	"testing"
	"time"
)

// A server that only the zone above names, and one that was a server of the zone until lately, may be asked by the
// resolvers of others: the key waits for what they have. Where they do not answer, or have no record, nobody waits.
func TestServersBeside(t *testing.T) {
	for _, c := range []struct {
		why  Beside
		says string
	}{{Above, "which only the zone above names"}, {Former, "which was a server of the zone"}} {
		w := published(t, Update)
		old := Server{Name: "ns3.example.net.", Addr: "192.0.2.3:53", Records: []Record{rec("a", hour)}, Beside: c.why}
		w.beside = []Server{old}
		w.waiting()
		w.pass(2*hour, 5*time.Minute)
		w.stage(Publishing, false)
		w.says(AboutChange, Notice, "ns3.example.net (192.0.2.3:53), "+c.says)
		if len(w.last.Add) > 0 || len(w.last.Edits) > 1 {
			t.Errorf("%+v, %+v", w.last.Add, w.last.Edits)
		}
		old.Records = append(old.Records, rec("b", hour))
		w.beside[0] = old
		w.pass(hour+10*time.Minute, 5*time.Minute)
		w.stage(Ready, true)
		for _, gone := range []Server{{Err: "REFUSED"}, {Err: "no answer in time", Away: true}, {}} {
			w = published(t, Update)
			gone.Name, gone.Addr, gone.Beside = old.Name, old.Addr, c.why
			w.beside = []Server{gone}
			w.waiting()
			w.pass(hour+time.Second, 5*time.Minute)
			w.stage(Ready, true)
		}
	}
}

// For two days a resolver may remember that a server is one of the zone's.
func TestFormerServerIsForgotten(t *testing.T) {
	w := published(t, Update)
	w.beside = []Server{{Name: "ns3.example.net.", Addr: "192.0.2.3:53", Records: []Record{rec("a", hour)},
		Beside: Former}}
	w.waiting()
	w.pass(48*hour, 5*time.Minute)
	w.stage(Publishing, false)
	w.pass(5*time.Minute, 5*time.Minute)
	w.beside = nil // only servers that are known are asked
	w.stage(Waiting, false)
	if n := w.last.Memory.Names[0]; len(n.Servers) != 2 {
		t.Errorf("it is still asked: %+v", n.Servers)
	}
	w.pass(hour+10*time.Minute, 5*time.Minute)
	w.stage(Ready, true)
}

// The records of a wildcard name count for the name of this host only until it has one of its own, so a person is told
// to add all of them, the one of the present key too.
func TestWildcard(t *testing.T) {
	for _, mode := range []Mode{Manual, None} {
		w := published(t, mode)
		w.wild = true
		w.look()
		w.silentOn(AboutAdd)
		w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Asked, key("b")
		w.look()
		w.says(AboutAdd, Warning, rec("a", 0).Data, "add all of these at once")
		w.says(AboutAdd, Warning, rec("b", 0).Data, "add all of these at once")
		w.wild = false
		w.servers["ns1"] = []Record{rec("a", hour), rec("b", hour)} // and ns2 lags
		w.look()
		w.silentOn(AboutAdd)
	}
}
