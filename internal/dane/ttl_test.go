package dane

import (
	"slices"
	"testing"
	"time"
)

// ttls are the times to live of the records at both servers, in seconds, each once.
func (w *world) ttls() (out []int) {
	for _, records := range w.servers {
		for _, r := range records {
			if !slices.Contains(out, r.TTL) {
				out = append(out, r.TTL)
			}
		}
	}
	return out
}

// Records that are in the DNS get the time to live of the configuration, and a change of a key waits nevertheless for
// the longest one that was ever out.
func TestTTLFollows(t *testing.T) {
	for _, ttl := range []time.Duration{time.Minute, 3 * hour} {
		w := published(t, Update)
		if len(w.last.Edits) > 0 {
			t.Errorf("an update without a need: %+v", w.last.Edits)
		}
		w.in.TTL = ttl
		w.decide()
		w.update("ns1", "ns2")
		w.look()
		if got := w.ttls(); !slices.Equal(got, []int{int(ttl / time.Second)}) || len(w.last.Edits) > 0 {
			t.Errorf("the records have %d seconds, must have %s: %+v", got, ttl, w.last.Edits)
		}
		w.silentOn(AboutTTL)
		w.waiting()
		w.pass(max(hour, ttl)-time.Minute, 5*time.Minute)
		w.stage(Waiting, false)
		w.pass(2*time.Minute, time.Minute)
		w.stage(Ready, true)
	}
}

// A secondary name server that lags asks for no other update than the one that the primary has had.
func TestTTLAtASecondary(t *testing.T) {
	w := published(t, Update)
	w.in.TTL = time.Minute
	w.decide()
	w.update("ns1")
	w.look()
	if len(w.last.Edits) != 1 || len(w.last.Edits[0].Retime) != 1 {
		t.Errorf("%+v", w.last.Edits)
	}
	if !w.last.LookAt.Equal(w.now.Add(lookHourly)) {
		t.Errorf("the next look is at %s", w.last.LookAt)
	}
}

// The time to live of a name with records of others is theirs as well, and a person who publishes changes it.
func TestTTLOfOthers(t *testing.T) {
	w := published(t, Update)
	for s := range w.servers {
		w.servers[s] = append(w.servers[s], rec("x", hour))
	}
	w.in.TTL = time.Minute
	w.look()
	if len(w.last.Edits) > 0 {
		t.Errorf("the time to live of others is changed: %+v", w.last.Edits)
	}
	w.says(AboutTTL, Notice, "a TTL of 3600 seconds, and dane.ttl is 60", "all records of a name have one TTL")
	w.in.Mode = Manual
	w.look()
	w.says(AboutTTL, Notice, "a TTL of 3600 seconds, and dane.ttl is 60", "change it in the DNS")
	w.in.Mode = None
	w.look()
	w.silentOn(AboutTTL)
}

// A server that is no longer one of the zone's, and a wildcard name, have times to live that nobody corrects.
func TestTTLElsewhere(t *testing.T) {
	for _, s := range []Server{{Beside: Former}, {Beside: Above}, {Wild: true}} {
		w := published(t, Update)
		s.Name, s.Addr, s.Records = "ns3.example.org.", "192.0.2.3:53", []Record{rec("a", 24*hour)}
		w.in.Memory.Names[0].Servers = append(w.in.Memory.Names[0].Servers, s)
		w.decide()
		for _, e := range w.last.Edits {
			if len(e.Retime) > 0 {
				t.Errorf("%+v: %+v", s, e)
			}
		}
		w.silentOn(AboutTTL)
	}
}
