package dane

import (
	"testing"
	"time"
)

// second adds a second pair without a key, which sendmail.cf names already.
func (w *world) second() *Pair {
	w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Want: First})
	return &w.in.Pairs[1]
}

// secondIs checks how far the second pair is.
func (w *world) secondIs(want Stage, may bool) {
	w.t.Helper()
	if got := w.last.Stage("host-ecdsa"); got != want || w.last.May("host-ecdsa") != may {
		w.t.Errorf("at %s: the second pair's stage %q, may %v; must be %q, %v", w.now, got,
			w.last.May("host-ecdsa"), want, may)
	}
}

// The first key of a pair that sendmail.cf names already waits as every next one does, where there are records.
func TestFirstKeyWaits(t *testing.T) {
	for _, mode := range []Mode{Update, Manual, None} {
		w := published(t, mode)
		p := w.second()
		w.decide()
		w.secondIs(Making, false)
		w.stage("", false)
		p.Staged = key("e")
		w.decide()
		w.secondIs(Publishing, false)
		w.says(AboutChange, Notice, "this pair is new, and sendmail.cf names it", "its first key is not used yet",
			"sendmail serves the other pair alone")
		w.silentOn(AboutWrong)
		w.silentOn(AboutForeign)
		for s := range w.servers {
			w.servers[s] = append(w.servers[s], rec("e", hour))
		}
		w.look()
		w.secondIs(Waiting, false)
		w.says(AboutChange, Notice, "which is used at 2026-06-01 13:00 UTC")
		w.pass(hour-time.Minute, 5*time.Minute)
		p.Idle = true // somebody takes it out of sendmail.cf
		w.pass(time.Minute, 5*time.Minute)
		w.secondIs(Waiting, false)
		p.Idle = false
		w.pass(time.Second, time.Second)
		w.secondIs(Ready, true)
		p.Present, p.Staged, p.Want = key("e"), Key{}, ""
		w.decide()
		w.silentOn(AboutChange)
		if len(w.last.Memory.Changes)+len(w.last.Memory.Old) > 0 {
			t.Errorf("%s: %+v", mode, w.last.Memory)
		}
		w.has("a", "e")
	}
}

// It does not wait where nothing is lost by that: there are no records, or it was there before and is lost, or
// sendmail.cf does not name it.
func TestFirstKeyAtOnce(t *testing.T) {
	w := newWorld(t, Update)
	w.look()
	w.second()
	w.decide()
	w.stage("", false)
	if w.last.Under("host-ecdsa") {
		t.Error("it waits for a record that no host misses")
	}
	w = published(t, Update)
	w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e")})
	w.decide()
	w.in.Pairs[1] = Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Want: First}
	w.look()
	if w.last.Under("host-ecdsa") && w.last.Memory.Changes["host-ecdsa"].Why == First {
		t.Error("a lost key waits")
	}
	w = published(t, Update)
	w.second().Idle = true
	w.look()
	if w.last.Under("host-ecdsa") {
		t.Error("a pair waits that sendmail.cf does not name")
	}
}

// What a person does meanwhile: the pair is not wanted any more, or its key is used without waiting.
func TestFirstKeyMeanwhile(t *testing.T) {
	start := func() (*world, *Pair) {
		w := published(t, Update)
		p := w.second()
		w.decide()
		p.Staged = key("e")
		w.decide()
		w.update("ns1", "ns2")
		w.look()
		return w, p
	}
	w, _ := start()
	w.in.Pairs = w.in.Pairs[:1]
	w.pass(2*hour, 5*time.Minute)
	w.update("ns1", "ns2")
	w.look()
	w.has("a")
	w, p := start()
	p.Want = ""
	w.decide()
	if w.last.Under("host-ecdsa") || !w.last.GaveUp(key("e").ID()) {
		t.Errorf("it goes on: %+v", w.last.Memory)
	}
	for _, installed := range []string{"e", "f"} { // with --now, and a key that a person brings
		w, p = start()
		p.Present, p.Staged, p.Want = key(installed), Key{}, ""
		w.decide()
		w.says(AboutChange, Error, "this pair is new, and sendmail uses it already")
		w.update("ns1", "ns2")
		w.pass(2*hour, 5*time.Minute)
		w.update("ns1", "ns2")
		w.look()
		w.silentOn(AboutChange)
		w.has("a", installed)
	}
}

// The state is lost while a first key waits: the files that keep its place say so, until the DNS answers.
func TestFirstKeyAfterLoss(t *testing.T) {
	for _, mode := range []Mode{Update, None} {
		w := published(t, mode)
		p := w.second()
		w.decide()
		p.Staged, p.Placeholder = key("e"), true
		w.decide()
		for s := range w.servers {
			w.servers[s] = append(w.servers[s], rec("e", hour))
		}
		w.look()
		w.in.Memory = Memory{}
		w.decide()
		if !w.last.Under("host-ecdsa") || w.last.May("host-ecdsa") {
			t.Errorf("%s: the first key is used", mode)
		}
		w.look()
		w.secondIs(Waiting, false)
		w.pass(hour+time.Second, 5*time.Minute)
		w.secondIs(Ready, true)
	}
}

// A second pair is configured before the DNS is asked for the first time: where somebody publishes for this host, there
// may be records. The answer says whether the key waits.
func TestFirstKeyBeforeTheAnswer(t *testing.T) {
	for _, records := range []bool{true, false} {
		w := newWorld(t, Update)
		p := w.second()
		w.decide()
		w.secondIs(Making, false)
		p.Staged = key("e")
		w.decide()
		if records {
			for s := range w.servers {
				w.servers[s] = []Record{rec("a", hour)}
			}
		}
		w.look()
		if under := w.last.Under("host-ecdsa"); under != records || len(w.last.Memory.Old) > 0 {
			t.Errorf("records: %v; it waits: %v; %+v", records, under, w.last.Memory)
		}
	}
	// On an empty disk both pairs are made at once.
	w := newWorld(t, Update)
	w.in.Pairs[0].Present = Key{}
	w.second()
	w.decide()
	if w.last.Under("host-ecdsa") {
		t.Error("it waits, and no pair is there")
	}
}
