package dane

import (
	"testing"
	"time"
)

// While a server gives no answer the wait does not go on, and nobody is told that it ends at some time.
func TestSilenceIsSaid(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.broken["ns2"] = "SERVFAIL"
	w.pass(20*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.says(AboutChange, Notice, "not every name server says", "ns2.example.org (192.0.2.1:53): SERVFAIL")
	if s := w.last.Steps[len(w.last.Steps)-1]; !s.At.IsZero() {
		t.Errorf("%+v", s)
	}
	w.pass(25*hour, hour)
	w.says(AboutChange, Warning, "ns2.example.org", "check that these name servers run")
	w.broken["ns2"] = ""
	w.look()
	w.says(AboutChange, Notice, "which is used at")
	w.pass(hour+time.Second, 5*time.Minute)
	w.stage(Ready, true)
	// A key that was changed at once: the same.
	w.in.Pairs[0].Present = key("c")
	w.decide()
	w.update("ns1", "ns2")
	w.look()
	w.says(AboutChange, Error, "at the latest")
	w.broken["ns2"] = "SERVFAIL"
	w.look()
	w.says(AboutChange, Error, "until every name server has the record", "ns2.example.org (192.0.2.1:53): SERVFAIL")
}

// In a zone whose signatures are wrong a resolver that checks them finds nothing at all, not even the name servers.
// What is wrong is then said as clearly as where they are found.
func TestSignaturesOfAZone(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.signed, w.failed = SignedBogus, "its zone could not be found"
	w.pass(2*hour, 5*time.Minute)
	if w.last.May("host") {
		t.Error("the key may be changed")
	}
	w.says(AboutBogus, Error, "cannot be validated", "the resolver answers SERVFAIL", "sign the zone again")
	w.says(AboutChange, Notice, "its zone could not be found")
	w.silentOn(AboutUnknown)
	w.signed, w.failed = SignedYes, "no resolver answers" // what was seen last counts, until something is seen again
	w.look()
	w.says(AboutBogus, Error, "cannot be validated")
	w.failed = ""
	w.look()
	w.silentOn(AboutBogus)
	w.pass(hour+time.Second, 5*time.Minute)
	w.stage(Ready, true)
}

// A server that gives no answer for a while neither ends the wait nor begins it again.
func TestSilentServer(t *testing.T) {
	w := published(t, Update)
	w.waiting()
	w.pass(30*time.Minute, 5*time.Minute)
	w.broken["ns2"] = "no answer in time"
	w.pass(2*hour, 5*time.Minute)
	w.stage(Waiting, false)
	w.broken["ns2"] = ""
	w.look() // nothing of these two hours counts
	w.stage(Waiting, false)
	w.pass(30*time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Second, time.Second)
	w.stage(Ready, true)
}

// Without an answer of the DNS nobody knows whether there are records: a key that a person asks for waits for one.
func TestAskedInSilence(t *testing.T) {
	asked := func(failed string) *world {
		w := newWorld(t, None)
		w.failed = failed
		w.in.Pairs[0].Want = Asked
		w.look()
		w.in.Pairs[0].Want = "" // a person asks once
		w.stage(Making, false)
		w.in.Pairs[0].Staged = key("b")
		w.decide()
		return w
	}
	w := asked("no resolver answers")
	w.stage(Asking, false)
	w.says(AboutChange, Warning, "not answered whether there are TLSA records", mail[:len(mail)-1],
		"the key is used at 2026-06-08 12:00 UTC", "--now")
	w.says(AboutUnknown, Warning, "no resolver answers")
	if len(w.last.Edits)+len(w.last.Add) > 0 || !w.last.LookAt.Equal(w.now.Add(lookOften)) {
		t.Errorf("%+v", w.last)
	}
	w.pass(7*24*hour-hour, 12*hour)
	w.stage(Asking, false)
	w.pass(hour, hour)
	w.stage(Asking, true)

	w = asked("no resolver answers") // it answers that there are none
	w.failed = ""
	w.look()
	w.stage(Ready, true)
	w.in.Pairs[0].Present, w.in.Pairs[0].Staged = key("b"), Key{}
	w.decide()
	w.stage("", true)
	if len(w.last.Memory.Changes)+len(w.last.Notes) > 0 {
		t.Errorf("%+v", w.last)
	}

	w = asked("no resolver answers") // it answers that there is one
	w.failed = ""
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", hour)}
	}
	w.look()
	w.stage(Publishing, false)
	w.says(AboutAdd, Warning, rec("b", 0).Data)

	w = newWorld(t, None) // it was never asked
	w.in.Pairs[0].Want, w.in.Pairs[0].Staged = Asked, key("b")
	w.decide()
	w.stage(Asking, false)
	w.says(AboutChange, Warning, "mailcertd has not asked it yet")
	w.in.Asks, w.in.Memory = false, Memory{}
	w.decide()
	w.stage("", true)
}
