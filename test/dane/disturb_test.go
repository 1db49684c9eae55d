package dane

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

// disturbance is something that goes wrong during one change of the key.
type disturbance struct {
	name string
	ttl  time.Duration // of the TLSA records; 0: 2 s
	lags bool          // the secondary server gets changes only when it is told to
	// run changes the key, and returns when another one is installed. Where the disturbance itself is the cause, the
	// mail host may say something other than Verified, whatever the key is: may has what, and when.
	run func(w *world) (may []span)
}

var disturbances = []disturbance{
	{name: "the secondary server lags", lags: true, run: lag},
	{name: "the secondary server answers SERVFAIL", ttl: 10 * time.Second, run: secondFails},
	{name: "every name server answers SERVFAIL", ttl: 10 * time.Second, run: allFail},
	{name: "the server that takes the updates is away", ttl: 10 * time.Second, run: primaryAway},
	{name: "the signatures have expired", ttl: 10 * time.Second, run: expire},
	{name: "the clock of the host is wrong", run: wrongClock},
	{name: "the daemon is killed", run: killed},
	{name: "a person renews and asks for a key again", run: asksAgain},
	{name: "a person deletes the record of the next key", run: deleteNext},
	{name: "a person deletes all records", run: deleteAll},
}

// Whatever goes wrong while a key changes, a mail host verifies every connection, or the DNS itself keeps it from that.
// mailcertd waits meanwhile, says what it waits for, and continues by itself.
func TestDisturbances(t *testing.T) {
	t.Parallel()
	for _, d := range slices.Concat(disturbances, otherServers) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, world{ttl: d.ttl, follows: !d.lags}, "type: ecdsa-p256")
			was := w.key("host")
			j := w.judges("")
			j.verifies()
			may := d.run(w)
			is := w.key("host")
			j.verifies()
			w.until("only the record of the new key stays", func() error {
				if d.lags {
					w.second.Follow(t, domain)
				}
				return w.has(record(is))
			})
			w.until("nothing is left to do", func() error {
				m := w.memory()
				return errorUnless(len(m.Changes)+len(m.Old) == 0, "%+v %+v", m.Changes, m.Old)
			})
			j.verifies()
			if got, want := j.only(may...)[""], []string{was, is}; !slices.Equal(got, want) {
				t.Errorf("the mail host has verified the keys %v, must have %v", got, want)
			}
		})
	}
}

func lag(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.published(primary)
	w.keeps(was, 2*w.ttl)
	w.says("not every name server has its TLSA record", "ns2.example.test ("+second+":53) does not have it")
	w.second.Follow(w.t, domain)
	w.published(second)
	came := time.Now()
	w.changes(next)
	if took := time.Since(came); took < w.ttl {
		w.t.Errorf("the key was changed %s after the last server had the record", took)
	}
	return nil
}

// The resolver asks the other server, so no mail host sees anything of it.
func secondFails(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	w.second.Stop()
	empty := w.empty(second)
	w.keeps(was, w.ttl+5*time.Second)
	w.says("ns2.example.test (" + second + ":53): SERVFAIL")
	empty.Stop()
	w.startSecond()
	w.changes(next)
	return nil
}

// The resolver asks the secondary server. It may wait for the one that is away first, for longer than the mail host
// waits for the resolver.
func primaryAway(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	from := time.Now()
	w.primary.Stop()
	w.keeps(was, w.ttl+5*time.Second)
	w.says("ns1.example.test (" + primary + ":53)")
	w.primary.Start(w.t)
	w.judge.verifies()
	to := time.Now()
	w.changes(next)
	return []span{{from, to, temporary}}
}

// Without an answer about the records a mail host tries again later.
func allFail(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	from := time.Now()
	w.primary.Stop()
	w.second.Stop()
	first, other := w.empty(primary), w.empty(second)
	w.keeps(was, w.ttl+5*time.Second)
	w.says("has failed since", "SERVFAIL")
	first.Stop()
	other.Stop()
	w.primary.Start(w.t)
	w.startSecond()
	w.judge.verifies()
	to := time.Now()
	w.changes(next)
	return []span{{from, to, temporary}}
}

// A resolver that checks signatures gives no answer where they have expired, so a mail host tries again later. Both
// servers serve the zone as it was, and nobody signs it any more.
func expire(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	text := w.expired()
	from := time.Now()
	w.primary.Stop()
	w.second.Stop()
	old := []*bed.NSD{w.static(primary, text), w.static(second, text)}
	w.keeps(was, w.ttl+5*time.Second)
	w.says("cannot be validated", strings.TrimSuffix(tlsaName, "."))
	for _, s := range old {
		s.Stop()
	}
	w.primary.Start(w.t)
	w.startSecond()
	w.judge.verifies()
	to := time.Now()
	w.changes(next)
	return []span{{from, to, temporary}}
}

// An update that was signed at the wrong time is refused (BADTIME).
func wrongClock(w *world) []span {
	w.kill()
	w.startWrong(-10 * time.Minute)
	was := w.key("host")
	w.rekey()
	w.says("could not be published", "BADTIME", "set the clocks of both hosts")
	w.keeps(was, w.ttl+2*time.Second)
	if got, err := w.at(primary); err != nil || !slices.Equal(got, []string{record(was)}) {
		w.t.Errorf("the name server has %v, %v", got, err)
	}
	w.kill()
	w.start()
	w.changes(w.published(primary))
	return nil
}

// The daemon is killed at each of these moments, and started again.
func killed(w *world) []span {
	was := w.key("host")
	w.rekey()
	again := func() {
		w.kill()
		w.start()
	}
	long := func() {
		w.kill()
		time.Sleep(2 * w.ttl)
		w.start()
	}
	again() // the next key is asked for
	w.soon("the next key is made", func() bool { return w.next() != "" })
	again()
	next := w.published(primary)
	again()
	w.agreed()
	long()
	time.Sleep(w.ttl / 2) // in the middle of the wait
	again()
	w.soon("the next key is installed", func() bool { return w.key("host") != was })
	again() // sendmail may not have got its HUP
	w.changes(next)
	w.judge.verifies()
	long() // the record of the old key is to go
	w.soon("the record of the old key goes", func() bool {
		got, err := w.at(primary)
		return err == nil && len(got) == 1
	})
	again()
	return nil
}

// A renewal keeps the key, and who asks again for a new one gets the one that is made already.
func asksAgain(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.published(second)
	before := w.h.OnDisk(w.t)
	w.must("renew")
	if w.h.OnDisk(w.t) == before {
		w.t.Error("the certificate was not renewed")
	}
	w.rekey()
	if got := w.next(); w.key("host") != was || got != next {
		w.t.Errorf("the key is %s and the next one %s, must be %s and %s", w.key("host"), got, was, next)
	}
	w.changes(next)
	return nil
}

func deleteNext(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	w.deletes(record(next))
	w.soon("mailcertd sees it", func() bool { return w.memory().Changes["host"].Seen.IsZero() })
	w.published(primary)
	came := time.Now()
	w.keeps(was, w.ttl/2)
	w.changes(next)
	if took := time.Since(came); took < w.ttl {
		w.t.Errorf("the key was changed %s after its record had come back", took)
	}
	return nil
}

// Without any record a mail host delivers without a check, whatever the key is.
func deleteAll(w *world) []span {
	was := w.key("host")
	w.rekey()
	next := w.agreed()
	from := time.Now()
	w.deletes()
	w.soon("mailcertd sees it", func() bool { return w.memory().Changes["host"].Seen.IsZero() })
	w.published(primary)
	came := time.Now()
	w.keeps(was, w.ttl/2)
	w.judge.verifies()
	to := time.Now()
	w.changes(next)
	if took := time.Since(came); took < w.ttl {
		w.t.Errorf("the key was changed %s after its record had come back", took)
	}
	return []span{{from, to, unchecked}}
}
