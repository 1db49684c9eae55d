package plan_test

import (
	"testing"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
	"mailcertd/internal/plan/given"
	"mailcertd/internal/state"
)

// The steps about a running sendmail that has not picked up a set that changed an hour ago.
func TestTelling(t *testing.T) {
	changed := given.Now.Add(-time.Hour)
	inst := func(pid int, started time.Duration) state.Instance { // started is counted from the change
		return state.Instance{PID: pid, PIDFileID: "x", Started: changed.Add(started)}
	}
	const none = plan.Step(-1)
	old := inst(1, -time.Hour)
	hup := func(i state.Instance, age time.Duration, sent bool) []state.HUP {
		return []state.HUP{{Instance: i, At: given.Now.Add(-age), Sent: sent}}
	}
	for _, c := range []struct {
		name                                  string
		runs                                  state.Instance
		hups                                  []state.HUP
		ours                                  bool
		first                                 plan.Step
		nothing, leaf, another, noTLS, notYet plan.Step // the step after each result of a probe
	}{
		{"the one that ran before", old, nil, false, plan.Tell, none, none, none, none, none},
		{"another one, older than the change", inst(2, -time.Minute), nil, false, plan.Tell, none, none,
			none, none, none},
		{"somebody has restarted it", inst(2, time.Minute), nil, false, plan.SettledBySelf, none, none,
			none, none, none},
		{"it came back by its HUP", inst(2, time.Minute), hup(old, time.Minute, true), false,
			plan.ProveBack, plan.Believe, plan.Believe, plan.Believe, plan.Believe, plan.Believe},
		{"it came back by an earlier HUP, before the change", inst(2, -time.Minute), hup(old, 2*time.Hour, true), false,
			plan.ProveBack, plan.Believe, plan.Tell, plan.Tell, plan.Tell, plan.Believe},
		{"it came back with the change", inst(2, -time.Second), hup(old, time.Hour, true), false,
			plan.ProveBack, plan.Believe, plan.Believe, plan.Tell, plan.Believe, plan.Believe},
		{"this process sent a HUP a moment ago", old, hup(old, time.Second, true), true, plan.AwaitNext, none, none,
			none, none, none},
		{"this process sent a HUP, and it does not restart", old, hup(old, 2*time.Minute, true), true,
			plan.Prove, plan.InVain, plan.InVain, plan.InVain, plan.InVain, plan.Later},
		{"another mailcertd sent a HUP a moment ago", old, hup(old, time.Second, true), false,
			plan.Prove, plan.AwaitNext, plan.AwaitNext, plan.AwaitNext, plan.AwaitNext, plan.Later},
		{"a HUP was noted a moment ago", old, hup(old, time.Second, false), false,
			plan.Prove, plan.AwaitNext, plan.AwaitNext, plan.Later, plan.AwaitNext, plan.Later},
		{"a HUP was noted, and is not confirmed", old, hup(old, time.Minute, false), false,
			plan.Prove, plan.InVain, plan.Tell, plan.Tell, plan.Tell, plan.Later},
		{"a HUP was noted for one that is younger", inst(1, time.Minute), hup(inst(1, time.Minute), time.Minute, false),
			false,
			plan.Prove, plan.InVain, plan.Believe, plan.Tell, plan.InVain, plan.Later},
	} {
		w := plan.Telling{Pickup: state.Pickup{Instance: old, HUPs: c.hups}, Instance: c.runs, Changed: changed,
			Signalled: c.ours, Now: given.Now}
		if got := w.First(); got != c.first {
			t.Errorf("%s: first %v, want %v", c.name, got, c.first)
		}
		for seen, want := range map[plan.Seen]plan.Step{plan.SeenNothing: c.nothing, plan.SeenLeaf: c.leaf,
			plan.SeenAnother: c.another,
			plan.SeenNoTLS:   c.noTLS, plan.SeenNotYet: c.notYet} {
			if got := w.After(c.first, seen); want != none && got != want {
				t.Errorf("%s, and %v was seen: %v, want %v", c.name, seen, got, want)
			}
		}
		if got, want := w.Unsent(), c.name == "a HUP was noted a moment ago"; got != want {
			t.Errorf("%s: unsent %v", c.name, got)
		}
	}
}

// The steps where no process of sendmail can be identified.
func TestAbsence(t *testing.T) {
	type hup struct {
		age     time.Duration
		sent    bool
		back    bool
		started int
	}
	const none = plan.AbsentStep(-1)
	now := given.Now
	for _, c := range []struct {
		name            string
		status          mta.Status
		hup             *hup
		up              time.Duration // time since the boot
		deaf, brief     bool          // no address can be asked; a verb that does not wait
		starting        bool
		first           plan.AbsentStep
		some, few, long plan.AbsentStep // the step where a program listens; where none has for a second; for a minute
	}{
		{"none runs, and none got a HUP", mta.NotRunning, nil, time.Hour, false, false, false,
			plan.NobodyRuns, none, none,
			none},
		{"a queue runner alone", mta.NoListener, nil, time.Hour, false, false, false, plan.NobodyRuns,
			none, none, none},
		{"the pid file makes no sense", mta.BadPidFile, nil, time.Hour, false, false, false,
			plan.AskWhoListens, plan.AskWhoServes, plan.NobodyListens, plan.NobodyListens},
		{"gone by our HUP", mta.NotRunning, &hup{time.Second, true, false, 0}, time.Hour, false, false, false,
			plan.AskWhoListens, plan.AskWhoServes, plan.WaitForSilence, plan.StartAgain},
		{"gone by our HUP, for ensure", mta.NotRunning, &hup{time.Second, true, false, 0}, time.Hour,
			false, true, false,
			plan.AskWhoListens, plan.AskWhoServes, plan.WaitForSilence, plan.WaitForSilence},
		{"gone by our HUP, and being started", mta.NotRunning, &hup{time.Minute, true, false, 1}, time.Hour,
			false, false,
			true,
			plan.AskWhoListens, plan.AskWhoServes, plan.WaitForStart, plan.WaitForStart},
		{"gone by our HUP, and the first start has failed", mta.NotRunning, &hup{time.Hour, true, false, 1},
			2 * time.Hour,
			false, false, false,
			plan.AskWhoListens, plan.NobodyRuns, plan.StartAgain, plan.StartAgain},
		{"gone by our HUP, and who is there cannot be asked", mta.BadPidFile,
			&hup{time.Second, true, false, 0}, time.Hour,
			true, false, false,
			plan.CannotTell, none, none, none},
		{"it had come back", mta.NotRunning, &hup{time.Minute, true, true, 0}, time.Hour, false, false, false,
			plan.NobodyRuns, none, none, none},
		{"it was started, and had come back", mta.NotRunning, &hup{time.Hour, true, true, 1}, 2 * time.Hour,
			false, false,
			false,
			plan.NobodyRuns, none, none, none},
		{"it got a HUP long ago", mta.NotRunning, &hup{time.Hour, true, false, 0}, 2 * time.Hour, false, false, false,
			plan.NobodyRuns, none, none, none},
		{"it got a HUP before the boot", mta.NotRunning, &hup{time.Minute, true, false, 0}, time.Second, false, false,
			false, plan.NobodyRuns, none, none, none},
		{"the HUP was noted and not sent", mta.NotRunning, &hup{time.Second, false, false, 0}, time.Hour, false,
			false, false,
			plan.NobodyRuns, none, none, none},
	} {
		a := plan.Absence{Status: c.status, Askable: !c.deaf, Brief: c.brief, Starting: c.starting,
			Boot: now.Add(-c.up),
			Now:  now}
		if h := c.hup; h != nil {
			a.Pickup.HUPs = []state.HUP{{At: now.Add(-h.age), Sent: h.sent, Back: h.back}}
			a.Pickup.Started = make([]time.Time, h.started)
		}
		got := []plan.AbsentStep{a.First(), a.After(false, 0), a.After(true, time.Second), a.After(true, time.Minute)}
		for i, want := range []plan.AbsentStep{c.first, c.some, c.few, c.long} {
			if want != none && got[i] != want {
				t.Errorf("%s: step %d is %v, want %v", c.name, i, got[i], want)
			}
		}
	}
}

// The sendmail whose pickup is pending still runs but cannot be identified now, for example because of an I/O error.
// The pickup is not proven when it serves the leaf on disk, because it may have read old versions of the other files.
func TestAbsenceOfTheLiving(t *testing.T) {
	now := given.Now
	for _, c := range []struct {
		name   string
		hups   []state.HUP
		alive  bool
		nobody bool
		want   plan.AbsentStep
	}{
		{"it lives, and got no HUP", nil, true, false, plan.CannotTell},
		{"it lives, and got a HUP a moment ago", []state.HUP{{At: now.Add(-time.Second), Sent: true}}, true, false,
			plan.WaitToKnow},
		{"it lives, and got a HUP long ago", []state.HUP{{At: now.Add(-time.Hour), Sent: true}}, true, false,
			plan.CannotTell},
		{"it lives, and nobody listens", nil, true, true, plan.NobodyListens},
		{"it is dead, and another listens", nil, false, false, plan.AskWhoServes},
	} {
		a := plan.Absence{Status: mta.BadPidFile, Askable: true, Boot: now.Add(-2 * time.Hour), Now: now,
			Alive: c.alive}
		a.Pickup.HUPs = c.hups
		if got := a.After(c.nobody, 0); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
