package plan

import (
	"crypto/x509"
	"testing"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/state"
)

// Noted times that a wrong clock has put far into the future are limited. Times by which something is deleted are
// limited only while the clock is believed.
func TestWithinReach(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	far, soon := now.AddDate(3, 0, 0), now.Add(time.Minute)
	build := now.AddDate(-1, 0, 0)
	for _, wrong := range []bool{false, true} {
		st := state.State{HighWater: now, Pickup: &state.Pickup{Next: far, Set: "x"},
			Notify:   map[string]*state.NotifyPending{"a": {Next: far, Running: far}, "b": {Next: soon}},
			Failures: map[string]state.Failure{ObtainFailure: {Next: far}}, Mismatch: state.Seen{Since: far},
			Name:   state.NameSeen{Name: "x", Since: far},
			Member: state.Member{Asked: far}, OldKeys: []state.OldKey{{Backup: "g", After: far}},
			Ours: map[string]state.Ours{"k": {Kind: "key", At: far}}}
		if wrong {
			build = now.AddDate(1, 0, 0) // a clock before the build is not believed
		}
		got := withinReach(st, now)
		most := now.Add(backoffCap)
		for name, at := range map[string]time.Time{"pickup": got.Pickup.Next, "notify": got.Notify["a"].Next,
			"running": got.Notify["a"].Running, "failure": got.Failures[ObtainFailure].Next} {
			if !at.Equal(most) {
				t.Errorf("%s: %s, want %s", name, at, most)
			}
		}
		for name, at := range map[string]time.Time{"mismatch": got.Mismatch.Since, "name": got.Name.Since,
			"asked": got.Member.Asked} {
			if !at.Equal(now) {
				t.Errorf("%s: %s, want %s", name, at, now)
			}
		}
		if !got.Notify["b"].Next.Equal(soon) || !st.Pickup.Next.Equal(far) {
			t.Error("what is near was moved, or what was given was changed")
		}
		p := Make(config.Default(""), Observed{State: st, Build: build}, Wish{}, now)
		key, ours := p.State.OldKeys[0].After, p.State.Ours["k"].At
		if wrong && (!key.Equal(far) || !ours.Equal(far)) || !wrong &&
			(!key.Equal(now.Add(oldKeyKept)) || !ours.Equal(now)) {
			t.Errorf("the clock is wrong: %v: an old key goes on %s, ours is of %s", wrong, key, ours)
		}
	}
}

// The judgement of a clock by the times that mailcertd has seen before. Times are in hours from noon of 2026-06-01; the
// CA is valid from -1000 to 9000.
func TestJudgeClock(t *testing.T) {
	base := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return base.Add(time.Duration(hours * float64(time.Hour))) }
	const none = -1e6
	time0 := func(hours float64) time.Time {
		if hours == none {
			return time.Time{}
		}
		return at(hours)
	}
	doubt := func(word string, since, seen float64, minutes int) state.Clock {
		return state.Clock{Doubt: word, Since: at(since), Seen: at(seen), Lasted: minutes * 60}
	}
	for _, c := range []struct {
		name      string
		mark      float64
		before    state.Clock
		now       float64
		leafEnds  float64 // the leaf begins at -900
		trust     bool
		want      clock
		by        float64 // the time by which plan decides
		markAfter float64
		after     state.Clock
	}{
		{"the first look", none, state.Clock{}, 0, 7000, false, clockFine, 0, 0, doubt("new", 0, 0, 0)},
		{"the state was lost, behind the CA", none, state.Clock{}, -1002, 7000, false, clockBehind, -1000, none,
			doubt("behind", -1002, -1002, 0)},
		{"an hour later", 0, state.Clock{}, 1, 7000, false, clockFine, 1, 0, state.Clock{}},
		{"a day later", 0, state.Clock{}, 24, 7000, false, clockFine, 24, 24, state.Clock{}},
		{"two days later", 0, state.Clock{}, 49.9, 7000, false, clockFine, 49.9, 49.9, state.Clock{}},
		{"a leap", 0, state.Clock{}, 51, 7000, false, clockAhead, 0, 0, doubt("ahead", 51, 51, 0)},
		{"looked at again at once", 0, doubt("ahead", 51, 51, 0), 51.1, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 51, 51, 0)},
		{"it runs on", 0, doubt("ahead", 51, 51, 0), 51.5, 7000, false, clockAhead, 0, 0, doubt("ahead", 51, 51.5, 30)},
		{"a host that slept", 0, doubt("ahead", 51, 51, 0), 60, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 51, 60, 60)},
		{"another leap", 0, doubt("ahead", 51, 60, 600), 2000, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 2000, 2000, 0)},
		{"back a bit, and still ahead", 0, doubt("ahead", 2000, 2010, 600), 60, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 60, 60, 0)},
		{"a day of it", 0, doubt("ahead", 51, 74, 1410), 75, 7000, false, clockFine, 75, 75, state.Clock{}},
		{"an hour of it, and the leaf is over", 0, doubt("ahead", 7100, 7100.5, 30), 7101, 7000, false, clockFine, 7101,
			7101, state.Clock{}},
		{"an hour of it, and the leaf is not", 0, doubt("ahead", 6900, 6900.5, 30), 6901, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 6900, 6901, 60)},
		{"set right", 0, doubt("ahead", 2000, 2010, 600), 3, 7000, false, clockFine, 3, 0, state.Clock{}},
		{"--trust-clock ahead", 0, doubt("ahead", 2000, 2010, 600), 2011, 7000, true, clockFine, 2011, 2011,
			state.Clock{}},
		{"behind", 100, state.Clock{}, 50, 7000, false, clockBehind, 100, 100, doubt("behind", 50, 50, 0)},
		{"behind a little", 100, state.Clock{}, 99.5, 7000, false, clockFine, 99.5, 100, state.Clock{}},
		{"behind for a day", 100, doubt("behind", 50, 73, 1390), 74, 7000, false, clockFine, 74, 74, state.Clock{}},
		{"behind the leaf's beginning for an hour", 100, doubt("behind", -950, -949.6, 30), -949, 7000, false,
			clockFine, -949, -949, state.Clock{}},
		{"behind for an hour", 100, doubt("behind", 50, 50.5, 30), 51, 7000, false, clockBehind, 100, 100,
			doubt("behind", 50, 51, 60)},
		{"--trust-clock behind", 100, state.Clock{}, 50, 7000, true, clockFine, 50, 50, state.Clock{}},
		{"the first mark was wrong", 900, doubt("new", 900, 900, 0), 0, 7000, false, clockFine, 0, 0,
			doubt("new", 0, 0, 0)},
		{"a first mark is no longer new", 0, doubt("new", 0, 0, 0), 1.5, 7000, false, clockFine, 1.5, 0, state.Clock{}},
		{"a new first mark, and behind the CA that is older", 0, doubt("new", 0, 0, 0), -1002, 7000, false, clockBehind,
			-1000, 0, doubt("behind", -1002, -1002, 0)},
		{"a leap in the first hour", 0, doubt("new", 0, 0, 0), 200, 7000, false, clockAhead, 0, 0,
			doubt("ahead", 200, 200, 0)},
		{"before the build", 100, state.Clock{}, -3000, 7000, false, clockEarly, 100, 100, state.Clock{}},
		{"before the build, with a doubt", 100, doubt("ahead", 200, 200, 0), -3000, 7000, false, clockEarly, 100, 100,
			doubt("ahead", 200, 200, 0)},
		{"past the CA's end", 100, state.Clock{}, 9001, 7000, false, clockLate, 100, 100, state.Clock{}},
		{"past the CA's end, and nothing is remembered", none, state.Clock{}, 9001, 7000, false, clockLate, -900, none,
			state.Clock{}},
		{"--trust-clock past the CA's end", 100, state.Clock{}, 9001, 7000, true, clockFine, 9001, 9001, state.Clock{}},
	} {
		obs := Observed{Build: at(-2000), State: state.State{HighWater: time0(c.mark), Clock: c.before}}
		obs.CA.Current = ca.Generation{Cert: &x509.Certificate{NotBefore: at(-1000), NotAfter: at(9000)}}
		a := &assessment{cfg: config.Default(""), obs: obs, wish: Wish{TrustClock: c.trust},
			judgement: judgement{now: at(c.now)}, issuer: issuersOf(config.Default(""), obs)[0]}
		a.host = &pair{assessment: a,
			installed: installed{leaf: &x509.Certificate{NotBefore: at(-900), NotAfter: at(c.leafEnds)}}}
		j := judgeClock(a)
		if j.clock != c.want || !j.at.Equal(at(c.by)) || !j.mark.Equal(time0(c.markAfter)) || j.doubt != c.after {
			t.Errorf("%s: %v by %s, mark %s, %+v", c.name, j.clock, j.at, j.mark, j.doubt)
		}
	}
}
