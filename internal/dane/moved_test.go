package dane

import (
	"testing"
	"time"
)

// A CNAME record leads elsewhere, or is gone: resolvers remember it for its own time to live, and then the records that
// they find there for theirs. Before the change of the key and in its middle the key waits for both.
func TestAliasMoves(t *testing.T) {
	for _, middle := range []bool{false, true} {
		w := newWorld(t, Update)
		w.alias, w.aliasTTL = "_dane.example.net.", 7200
		for s := range w.servers {
			w.servers[s] = []Record{rec("a", hour)}
		}
		w.look()
		if middle {
			w.waiting()
			w.pass(50*time.Minute, 5*time.Minute)
			w.stage(Waiting, false)
		}
		w.alias, w.aliasTTL = "", 0
		w.look()
		if !middle {
			w.waiting()
		}
		w.pass(3*hour-time.Minute, 5*time.Minute)
		w.stage(Waiting, false)
		w.pass(time.Minute+time.Second, hour)
		w.stage(Ready, true)
	}
}
