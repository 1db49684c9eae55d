package dane

import (
	"testing"
	"time"
)

// A pair that is added where there are records: its record is published, and it is said when hosts that remember the
// others accept its key, so that sendmail shows it to nobody before.
func TestAddedPair(t *testing.T) {
	for _, mode := range []Mode{Update, None} {
		w := published(t, mode)
		w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e"),
			Idle: true})
		w.decide()
		w.says(AboutChange, Notice, "name it only when", "has had its record for 1 hour")
		w.silentOn(AboutWrong)
		w.stage("", false) // the other pair's key does not change
		if mode == None {
			w.says(AboutAdd, Warning, rec("e", 0).Data)
		}
		for s := range w.servers { // mailcertd or a person adds it
			w.servers[s] = append(w.servers[s], rec("e", hour))
		}
		w.look()
		w.says(AboutChange, Notice, "let sendmail.cf name it only after 2026-06-01 13:00 UTC")
		w.in.Pairs[1].Idle = false
		w.decide()
		w.says(AboutChange, Error, "sendmail uses it already", "only after 2026-06-01 13:00 UTC")
		if got := w.last.Stage("host-ecdsa"); got != Settling || w.last.May("host-ecdsa") ||
			w.last.Under("host-ecdsa") {
			t.Errorf("%s: stage %q, %v, %v", mode, got, w.last.May("host-ecdsa"), w.last.Under("host-ecdsa"))
		}
		w.pass(hour+time.Second, 5*time.Minute)
		w.silentOn(AboutChange)
		if len(w.last.Memory.Changes) > 0 {
			t.Errorf("%s: %+v", mode, w.last.Memory.Changes)
		}
		w.has("a", "e")
	}
	// Without any record before, no host checks one.
	w := newWorld(t, Update)
	w.look()
	w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e")})
	w.decide()
	w.silentOn(AboutChange)
}
