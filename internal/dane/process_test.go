package dane

import (
	"testing"
	"time"
)

// A command that a person types looks as well, and knows no earlier look. What it saw first is not taken for as old as
// the daemon's last look before it.
func TestAnotherProcessLooks(t *testing.T) {
	w := published(t, Update)
	w.look()
	daemon := w.seen
	w.now = w.now.Add(hour)
	w.seen = time.Time{} // as a command
	w.waiting()
	w.now = w.now.Add(time.Second)
	w.seen = daemon
	w.look()
	w.pass(hour-5*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(5*time.Minute, time.Minute)
	w.stage(Ready, true)
}

// The same for a time to live that was lowered: resolvers remember the longer one from when it was last seen.
func TestAnotherProcessSeesTTL(t *testing.T) {
	m := Memory{Longest: 3600, Looked: start}
	m = m.Saw(Look{At: start.Add(hour), Names: named(600)})                                            // a command
	m = m.Saw(Look{At: start.Add(hour + time.Second), Elapsed: hour + time.Second, Names: named(600)}) // the daemon
	if m.Lowered > 1 || m.Longest != 3600 {
		t.Errorf("lowered for %d seconds, longest %d", m.Lowered, m.Longest)
	}
	m = m.Saw(Look{At: start.Add(2*hour + 2*time.Second), Elapsed: hour + time.Second, Names: named(600)})
	if m.Longest != 600 {
		t.Errorf("lowered for %d seconds, longest %d", m.Lowered, m.Longest)
	}
}

// named is what a look has seen at one server: a record with that time to live.
func named(ttl int) []Name {
	records := []Record{rec("a", time.Duration(ttl)*time.Second)}
	return []Name{{Name: mail, Servers: []Server{{Name: "ns1.", Records: records}}}}
}
