package dane

import (
	"crypto/sha512"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"
)

// One whole change: the key may be changed exactly when every server has had the record for the longest time to live.
func TestWholeChange(t *testing.T) {
	w := newWorld(t, Update)
	w.look()
	w.update("ns1", "ns2")
	w.look()
	w.has("a")
	w.stage("", false)
	w.in.Pairs[0].Want = Asked
	w.decide()
	w.in.Pairs[0].Want = "" // a person asks once
	w.stage(Making, false)
	if !w.last.Under("host") {
		t.Error("no key is made")
	}
	w.in.Pairs[0].Staged = key("b")
	w.decide()
	w.stage(Publishing, false)
	w.update("ns1") // the secondary lags
	w.pass(3*hour, 10*time.Minute)
	w.stage(Publishing, false)
	w.says(AboutChange, Notice, "ns2.example.org (192.0.2.1:53) does not have it")
	w.update("ns2")
	w.look()
	w.stage(Waiting, false)
	w.says(AboutChange, Notice, "2026-06-01 16:00 UTC")
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Hour)
	w.stage(Ready, true)
	w.has("a", "b")
	w.in.Pairs[0].Present, w.in.Pairs[0].Staged, w.in.Served = key("b"), Key{}, false
	w.decide()
	w.stage("", false)
	w.silentOn(AboutChange)
	w.pass(2*hour, hour) // no old record goes before sendmail uses the new key
	w.update("ns1", "ns2")
	w.has("a", "b")
	w.in.Served, w.in.ServedSince = true, w.now
	w.pass(hour-time.Minute, 10*time.Minute)
	w.update("ns1", "ns2")
	w.has("a", "b")
	w.pass(time.Minute, time.Minute)
	w.update("ns1", "ns2")
	w.has("b")
	w.look()
	if len(w.last.Memory.Old)+len(w.last.Memory.Changes)+len(w.last.Notes)+len(w.last.Edits) > 0 {
		t.Errorf("something is left: %+v", w.last)
	}
}

// The longest time to live counts, also one that was seen earlier and that the server has lowered since.
func TestLongestTTL(t *testing.T) {
	w := published(t, Update)
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", 24*hour)}
	}
	w.in.Pairs[0].Want = Rotation
	w.look()
	w.in.Pairs[0].Staged = key("b")
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", time.Minute), rec("b", time.Minute)}
	}
	w.look()
	w.pass(24*hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Hour)
	w.stage(Ready, true)
}

// A time to live that was lowered before the change began counts as long as resolvers may remember records with it.
func TestLoweredBefore(t *testing.T) {
	w := newWorld(t, Update)
	put := func(ttl time.Duration) {
		for s := range w.servers {
			w.servers[s] = []Record{rec("a", ttl)}
		}
		w.look()
	}
	put(24 * hour)
	w.pass(hour, hour)
	put(hour)
	w.in.TTL = time.Minute
	w.pass(20*hour, hour)
	put(time.Minute) // it is lowered again
	w.waiting()
	w.pass(3*hour, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(hour+5*time.Minute, 5*time.Minute) // nobody remembers a record with a day any more
	if got := w.last.Longest; got != hour {
		t.Errorf("the longest time to live is %s", got)
	}
	w.stage(Ready, true)
	w.pass(hour+5*time.Minute, 5*time.Minute)
	if got := w.last.Longest; got != time.Minute {
		t.Errorf("the longest time to live is %s", got)
	}
}

// The messages of the daemon do not change from one decision to the next while a key waits: each change is logged.
func TestSteadyMessage(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	var said string
	for i := range 11 {
		w.pass(4*time.Minute, 4*time.Minute)
		w.now = w.now.Add(time.Minute)
		w.decide()
		text := w.last.Notes[0].Text
		if i > 0 && text != said {
			t.Errorf("%q, then %q", said, text)
		}
		said = text
	}
}

// What is lost in between begins the wait again.
func TestRecordGoesInBetween(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(hour-time.Minute, 5*time.Minute)
	w.servers["ns2"] = []Record{rec("a", hour)} // a person deletes the record
	w.pass(time.Minute, time.Minute)
	w.stage(Publishing, false)
	w.update("ns2")
	w.look()
	w.stage(Waiting, false)
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Hour)
	w.stage(Ready, true)
	w.servers["ns1"] = []Record{rec("a", hour)} // and again, when the key may be changed
	w.look()
	w.stage(Publishing, false)
	w.in.Pairs[0].Staged = Key{} // the next key is deleted: its record goes, and another key is made
	w.decide()
	w.stage(Making, false)
	if len(w.last.Memory.Old) != 1 || w.last.Memory.Old[0].Key != key("b").ID() {
		t.Errorf("%+v", w.last.Memory.Old)
	}
}

// A key is not changed while one of these is so, and the message names it.
func TestObstacles(t *testing.T) {
	sum := sha512.Sum512(key("a").SPKI)
	strong := Record{3, 1, 2, hex.EncodeToString(sum[:]), 3600}
	for _, c := range []struct {
		name string
		do   func(*world)
		says string
	}{
		{"a server that answers SERVFAIL", func(w *world) { w.broken["ns2"] = "SERVFAIL" }, "ns2.example.org"},
		{"wrong signatures", func(w *world) { w.signed = SignedBogus }, "the resolver answers SERVFAIL"},
		{"a clock in doubt", func(w *world) { w.in.Believed = false }, "clock"},
		{"a DNS that is silent", func(w *world) { w.failed = "no resolver answers" }, "no resolver answers"},
		{"a stronger digest of the old key", func(w *world) {
			for s := range w.servers {
				w.servers[s] = append(w.servers[s], strong)
			}
		}, "3 1 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := published(t, Update)
			w.waiting()
			w.pass(hour+time.Second, 5*time.Minute)
			w.stage(Ready, true)
			c.do(w)
			w.look()
			if w.last.May("host") {
				t.Error("the key may be changed")
			}
			found := false
			for _, n := range w.last.Notes {
				found = found || n.About == AboutChange && strings.Contains(n.Text, c.says)
			}
			if !found {
				t.Errorf("no note says %q: %+v", c.says, w.last.Notes)
			}
		})
	}
	w := published(t, Update)
	w.waiting()
	w.pass(hour+time.Second, 5*time.Minute)
	w.now = w.now.Add(2 * hour) // the daemon was stopped: the last look is too old
	w.decide()
	w.stage(Ready, false)
}

// A clock that is set forward does not end the wait, and one that is set back does not make it endless.
func TestClockSteps(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(10*time.Minute, 5*time.Minute)
	w.now, w.jumped = w.now.Add(30*hour), 30*hour
	w.look()
	w.stage(Waiting, false)
	w.now, w.jumped = w.now.Add(-60*hour), -60*hour
	w.look()
	w.stage(Waiting, false)
	w.pass(50*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Second, time.Second)
	w.stage(Ready, true)
}

// A lost key is replaced at once; its record is first in line, and the message says until when hosts refuse.
func TestLostKey(t *testing.T) {
	w := published(t, Update)
	w.in.Pairs[0].Present = Key{}
	w.look()
	w.in.Pairs[0].Present = key("c")
	w.decide()
	w.stage(Settling, false)
	w.says(AboutChange, Error, "do not deliver", "up to 1 hour")
	if len(w.last.Edits) != 1 || !slices.ContainsFunc(w.last.Edits[0].Must, rec("c", 0).Same) ||
		!w.last.LookAt.Before(w.now.Add(6*time.Minute)) {
		t.Errorf("%+v, looks at %s", w.last.Edits, w.last.LookAt)
	}
	steps := func(dated int) {
		t.Helper()
		want := []string{"the key was changed at once", "every name server has its TLSA record",
			"no resolver remembers the records without it", "the TLSA record of the old key is removed"}
		for i, step := range w.last.Steps {
			if i >= len(want) || step.What != want[i] || step.At.IsZero() != (i >= dated) {
				t.Errorf("step %d: %+v", i, step)
			}
		}
		if len(w.last.Steps) != len(want) {
			t.Errorf("%+v", w.last.Steps)
		}
	}
	steps(1)
	w.update("ns1", "ns2")
	w.look()
	steps(4)
	w.says(AboutChange, Error, "until 2026-06-01 13:00 UTC")
	w.pass(hour+time.Second, 5*time.Minute)
	w.stage("", false)
	w.update("ns1", "ns2")
	w.has("c")
}

// Two pairs: both keys' records are published together.
func TestTwoPairs(t *testing.T) {
	w := newWorld(t, Update)
	w.in.Pairs = append(w.in.Pairs, Pair{Name: "host-ecdsa", File: "host-ecdsa.key", Present: key("e")})
	w.in.Served = false
	w.look()
	if len(w.last.Edits) > 0 {
		t.Error("the first records are published before sendmail is known to use the keys")
	}
	w.in.Served = true
	w.look()
	w.update("ns1", "ns2")
	w.has("a", "e")
	w.in.Pairs[1].Want, w.in.Pairs[1].Staged = Rotation, key("f")
	w.look()
	w.update("ns1", "ns2")
	w.has("a", "e", "f")
	w.look()
	w.pass(hour+time.Second, 5*time.Minute)
	if w.last.May("host") || !w.last.May("host-ecdsa") {
		t.Error("the wrong pair may be changed")
	}
}

// Nobody publishes for this host: keys are free without records, and wait for those of others.
func TestNone(t *testing.T) {
	w := newWorld(t, None)
	w.in.Pairs[0].Want = Rotation
	w.decide()
	w.stage("", false) // nothing is known yet
	w.look()
	w.stage("", true)
	if len(w.last.Edits)+len(w.last.Add)+len(w.last.Notes) > 0 {
		t.Errorf("%+v", w.last)
	}
	w.failed = "no resolver answers"
	w.in.Memory = Memory{}
	w.look()
	w.stage("", false)
	w.pass(7*24*hour, 12*hour)
	w.stage("", true)
	w.in.Asks = false
	w.in.Memory = Memory{}
	w.decide()
	w.stage("", true)

	w = published(t, None)
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Asked, key("b")
	w.decide()
	w.stage(Publishing, false)
	if len(w.last.Edits) > 0 {
		t.Errorf("%+v", w.last.Edits)
	}
	w.says(AboutAdd, Warning, mail+" 3600 IN TLSA 3 1 1 "+key("b").ID())
	for s := range w.servers {
		w.servers[s] = nil
	}
	w.look() // all records are gone, and resolvers may remember them
	w.stage(Waiting, false)
	w.silentOn(AboutAdd)
	w.says(AboutChange, Notice, "all TLSA records were removed", "2026-06-01 13:00 UTC")
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Minute)
	w.stage(Ready, true)
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged, w.in.Pairs[0].Present = "", Key{}, key("b")
	w.look()
	if len(w.last.Memory.Changes)+len(w.last.Memory.Old) > 0 {
		t.Errorf("%+v", w.last.Memory)
	}
}

// A person publishes: each line is said as a zone file has it, and the record is waited for.
func TestManual(t *testing.T) {
	w := newWorld(t, Manual)
	w.look()
	w.says(AboutAdd, Warning, mail+" 3600 IN TLSA 3 1 1 "+key("a").ID())
	w.servers["ns1"], w.servers["ns2"] = []Record{rec("a", hour)}, []Record{rec("a", hour)}
	w.look()
	w.silentOn(AboutAdd)
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Rotation, key("b")
	w.look()
	w.says(AboutAdd, Warning, key("b").ID())
	w.says(AboutChange, Notice, "[tlsa-add]")
	w.servers["ns1"] = append(w.servers["ns1"], rec("b", hour)) // the secondary server lags, and nothing is to be added
	w.look()
	w.silentOn(AboutAdd)
	for _, n := range w.last.Notes {
		if strings.Contains(n.Hint, "[tlsa-add]") {
			t.Errorf("a hint names a problem that is not there: %+v", n)
		}
	}
	w.servers["ns2"] = w.servers["ns1"]
	w.look()
	w.silentOn(AboutAdd)
	w.pass(hour+time.Second, 5*time.Minute)
	w.stage(Ready, true)
	w.in.Pairs[0].Present, w.in.Pairs[0].Staged, w.in.Pairs[0].Want = key("b"), Key{}, ""
	w.look()
	w.silentOn(AboutRemove)
	w.pass(hour+time.Second, 5*time.Minute)
	w.says(AboutRemove, Notice, "TLSA 3 1 1 "+key("a").ID())
	for s := range w.servers {
		w.servers[s] = []Record{rec("b", hour)}
	}
	w.look()
	w.silentOn(AboutRemove)
}

// Records of others are never removed, and those that the next certificate will not fit are told.
func TestForeignRecords(t *testing.T) {
	leaf := Record{3, 0, 1, digest([]byte("leaf"), matchSHA256), 3600}
	ca := Record{2, 1, 1, strings.Repeat("ab", 32), 3600}
	stranger := rec("x", hour)
	w := newWorld(t, Update)
	for s := range w.servers {
		w.servers[s] = []Record{leaf, ca, stranger, {0, 0, 1, strings.Repeat("cd", 32), 3600}}
	}
	w.look()
	w.says(AboutFragile, Warning, "3 0 1", "host.key")
	w.says(AboutFragile, Warning, "2 1 1")
	for _, c := range []struct {
		renewal, ends time.Time
		says          string
	}{
		{start.Add(240 * hour), start.Add(480 * hour), "next certificate, which is due at 2026-06-11 12:00 UTC, if "},
		{start, start.Add(480 * hour), "next certificate, which is due now, if "},
		{time.Time{}, start.Add(480 * hour), "needed before 2026-06-21 12:00 UTC, when the present one expires"},
	} {
		w.in.Pairs[0].Renewal, w.in.Pairs[0].Ends = c.renewal, c.ends
		w.decide()
		w.says(AboutFragile, Warning, "2 1 1", c.says)
		whole, _, _ := strings.Cut(strings.TrimPrefix(c.says, "next certificate"), ", if ")
		w.says(AboutFragile, Warning, "3 0 1", whole)
	}
	w.silentOn(AboutWrong)
	w.update("ns1", "ns2")
	w.look()
	w.says(AboutFragile, Notice, "3 0 1")
	for _, e := range w.last.Edits {
		if len(e.Drop) > 0 {
			t.Errorf("%+v", e)
		}
	}
	w.in.Pairs[0].Leaf = []byte("another leaf")
	for s := range w.servers {
		w.servers[s] = []Record{leaf, stranger}
	}
	w.look()
	w.says(AboutWrong, Error, "_25._tcp.mail.example.org matches the key in host.key", "ns1.example.org")
	w.signed = SignedNo
	w.look()
	w.says(AboutWrong, Warning, "ns2.example.org")
	w.says(AboutUnsigned, Warning, "not signed")
}
