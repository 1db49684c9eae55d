package dane

import (
	"slices"
	"testing"
	"time"
)

// A person changes the key by hand as RFC 7671 says: the record first, the key a time to live later. Nobody is told
// that mail waits, and who comes earlier hears when that ends.
func TestKeyByHand(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		knows bool
	}{{30 * time.Minute, false}, {hour + 5*time.Minute, true}} {
		w := published(t, None)
		for s := range w.servers {
			w.servers[s] = append(w.servers[s], rec("c", hour))
		}
		w.look()
		w.pass(c.after, 5*time.Minute)
		if got := w.last.Knows(key("c").ID()); got != c.knows {
			t.Errorf("after %s: %v", c.after, got)
		}
		w.in.Pairs[0].Present = key("c")
		w.decide()
		if c.knows {
			w.stage("", false)
			w.silentOn(AboutChange)
		} else {
			w.stage(Settling, false)
			w.says(AboutChange, Error, "until 2026-06-01 13:00 UTC")
		}
	}
	w := published(t, None)
	for s := range w.servers {
		w.servers[s] = append(w.servers[s], rec("c", hour))
	}
	w.pass(2*hour, 5*time.Minute)
	w.servers["ns2"] = []Record{rec("a", hour)}
	w.look()
	if w.last.Knows(key("c").ID()) {
		t.Error("a server lacks the record")
	}
	w.servers["ns2"] = slices.Clone(w.servers["ns1"])
	w.pass(30*time.Minute, 5*time.Minute)
	if w.last.Knows(key("c").ID()) {
		t.Error("the wait did not begin again")
	}
	w.pass(40*time.Minute, 5*time.Minute)
	if !w.last.Knows(key("c").ID()) {
		t.Error("the record is not known")
	}
}
