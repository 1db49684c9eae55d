package dane

import (
	"testing"
	"time"
)

// Where nobody publishes, the DNS is asked once a day. A key that has become too old is changed by a look of the last
// hour alone: somebody may have published the first record since then.
func TestRotationLooksFirst(t *testing.T) {
	for _, published := range []bool{false, true} {
		w := newWorld(t, None)
		w.look()
		w.now = w.now.Add(12 * hour)
		w.in.Pairs[0].Want = Rotation
		w.decide()
		w.stage("", false)
		if !w.last.Careful || w.last.LookAt.After(w.now) {
			t.Errorf("careful: %v; the next look is at %s", w.last.Careful, w.last.LookAt)
		}
		if published {
			for s := range w.servers {
				w.servers[s] = []Record{rec("a", hour)}
			}
		}
		w.look()
		if published {
			w.stage(Making, false)
		} else {
			w.stage("", true)
		}
	}
	w := published(t, None) // the same where all records were removed during a change, and the daemon was stopped
	w.waiting()
	w.servers["ns1"], w.servers["ns2"] = nil, nil
	w.pass(3*hour, 5*time.Minute)
	w.stage(Ready, true)
	w.now = w.now.Add(24 * hour)
	if w.decide(); w.last.May("host") || w.last.LookAt.After(w.now) {
		t.Errorf("the next look is at %s", w.last.LookAt)
	}
	w = newWorld(t, None) // a DNS that is silent is asked hourly, not all the time
	w.failed, w.in.Pairs[0].Want = "no resolver answers", Rotation
	w.look()
	w.now = w.now.Add(time.Minute)
	if w.decide(); !w.last.LookAt.After(w.now) {
		t.Errorf("the next look is at %s", w.last.LookAt)
	}
}
