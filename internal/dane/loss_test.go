package dane

import (
	"testing"
	"time"
)

// The state is lost during the change of a key. Where the next key is still there, the change goes on.
func TestResumed(t *testing.T) {
	for _, mode := range []Mode{Update, Manual, None} {
		w := published(t, mode)
		w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Asked, key("b")
		w.decide()
		for s := range w.servers {
			w.servers[s] = append(w.servers[s], rec("b", hour))
		}
		w.look()
		w.in.Pairs[0].Want, w.in.Memory = "", Memory{}
		w.decide()
		if !w.last.Under("host") && !w.last.NeverAsked() {
			t.Errorf("%s: the next key is forgotten before the DNS is asked", mode)
		}
		w.look()
		w.stage(Waiting, false)
		w.silentOn(AboutForeign)
		w.pass(hour, 5*time.Minute)
		w.stage(Waiting, false)
		w.pass(time.Second, time.Second)
		w.stage(Ready, true)
		w.in.Pairs[0].Present, w.in.Pairs[0].Staged = key("b"), Key{}
		w.look()
		w.stage("", false)
	}
	// Without records nothing is resumed.
	w := newWorld(t, None)
	w.in.Pairs[0].Staged = key("b")
	w.look()
	if w.last.Under("host") || w.last.NeverAsked() {
		t.Errorf("%+v", w.last.Memory)
	}
}

// Where the next key is gone too, its record is of another key, which a person is told.
func TestForeignIsSaid(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.silentOn(AboutForeign)
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged, w.in.Memory = "", Key{}, Memory{}
	w.look()
	w.says(AboutForeign, Notice, "_25._tcp.mail.example.org has 1 TLSA record of another key",
		rec("b", hour).Line(mail), "never removes", "remove the record from the DNS")
	for s := range w.servers {
		w.servers[s] = append(w.servers[s], rec("x", hour), Record{2, 1, 1, rec("y", 0).Data, 3600})
	}
	w.look()
	w.says(AboutForeign, Notice, "2 TLSA records of other keys")
	for _, e := range w.last.Edits {
		if len(e.Drop) > 0 {
			t.Errorf("%+v", e)
		}
	}
	w.in.Pairs[0].Present, w.in.Memory = Key{}, Memory{} // its key cannot be read
	w.look()
	w.silentOn(AboutForeign)
	// A key that was replaced is known until its record is gone.
	w = published(t, Update)
	w.in.Pairs[0].Present = key("c")
	w.look()
	w.silentOn(AboutForeign)
}
