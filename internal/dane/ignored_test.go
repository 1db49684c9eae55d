package dane

import (
	"crypto/sha512"
	"encoding/hex"
	"testing"
	"time"
)

// Where a record with a stronger digest was removed, resolvers still remember it, and mail hosts that see it ignore the
// record of the next key: the wait begins when it is gone.
func TestStrongerDigestGoes(t *testing.T) {
	sum := sha512.Sum512(key("a").SPKI)
	strong := Record{3, 1, 2, hex.EncodeToString(sum[:]), 3600}
	w := published(t, Update)
	for s := range w.servers {
		w.servers[s] = append(w.servers[s], strong)
	}
	w.waiting()
	w.pass(2*hour, 5*time.Minute)
	w.stage(Publishing, false)
	w.says(AboutChange, Warning, "3 1 2 of another key", "remove the record 3 1 2")
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", hour), rec("b", hour)}
	}
	w.look()
	w.stage(Waiting, false)
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Hour)
	w.stage(Ready, true)
}

// A look takes time, and a server may have got the record just before it answered: the wait begins after the answers.
func TestLongLook(t *testing.T) {
	w := published(t, Update)
	w.took = 40 * time.Second
	w.waiting()
	w.took = 0
	w.pass(hour+39*time.Second, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(2*time.Second, hour)
	w.stage(Ready, true)
}

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
