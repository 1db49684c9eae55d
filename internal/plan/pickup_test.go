package plan

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

// A pending pickup ends when a sendmail runs that started after the change, unless that start follows a HUP whose
// effect another process is still proving.
func TestSettled(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	changed := now.Add(-time.Hour)
	at := func(d time.Duration) time.Time { return changed.Add(d) }
	inst := func(pid int, started time.Time) state.Instance {
		return state.Instance{PID: pid, PIDFile: "/p", PIDFileID: "1:2:3", Started: started}
	}
	told := func(i state.Instance) []state.HUP {
		return []state.HUP{{Instance: i, At: at(time.Second), Sent: true}}
	}
	old := inst(7, at(-time.Hour))
	for name, c := range map[string]struct {
		runs   state.Instance
		status mta.Status
		pickup state.Pickup
		want   bool
	}{
		"restarted by hand, before any HUP": {inst(8, at(time.Minute)), mta.OK, state.Pickup{Instance: old}, true},
		"by a relative path": {inst(8, at(time.Minute)), mta.RelativeArgv0,
			state.Pickup{Instance: old}, true},
		"the same as before": {old, mta.OK, state.Pickup{Instance: old}, false},
		"the same, though it looks younger": {inst(7, at(time.Minute)), mta.OK,
			state.Pickup{Instance: inst(7, at(time.Minute))}, false},
		"another, older than the change": {inst(8, at(-time.Second)), mta.OK, state.Pickup{Instance: old}, false},
		"started with the change":        {inst(8, changed), mta.OK, state.Pickup{Instance: old}, false},
		"none":                           {state.Instance{}, mta.NotRunning, state.Pickup{Instance: old}, false},
		"somebody else has that pid": {inst(8, at(time.Minute)), mta.OtherProcess,
			state.Pickup{Instance: old}, false},
		"after a HUP, nobody waits yet": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old)}, false},
		"after a HUP, somebody waits": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old), Proving: now.Add(time.Minute)}, false},
		"after a HUP, whoever waited is gone": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old), Proving: now.Add(-time.Second)}, true},
		"the clock was set back meanwhile": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old), Proving: now.Add(2 * mta.Patience)}, true},
		"it failed to be proven": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old), Attempts: 1, Failed: InstanceID(inst(8, time.Time{}))}, false},
		"another one came after the failure": {inst(9, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(old), Attempts: 1, Failed: InstanceID(inst(8, time.Time{}))}, true},
		"it got the HUP itself": {inst(8, at(time.Minute)), mta.OK,
			state.Pickup{Instance: old, HUPs: told(inst(8, at(time.Minute))), Attempts: 1}, false},
	} {
		a := &assessment{judgement: judgement{now: now}}
		a.obs.Certs = certdir.Dir{}
		a.obs.Certs.Cert.Node.Changed = changed
		a.obs.MTA = mta.Identity{Status: c.status, PID: c.runs.PID, Instance: mta.Instance(c.runs)}
		if got := settled(a, &c.pickup); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// No pickup is pending for a sendmail that was stopped before it was told. One that starts after that has read the
// files, unless its start is older than they are.
func TestStopped(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	changed := now.Add(-time.Hour)
	const dir = "/etc/mail/certs"
	none := state.PickedUp{How: NoneRunning}
	told := []state.HUP{{Instance: state.Instance{PID: 7}, At: now, Sent: true}}
	for name, c := range map[string]struct {
		status  mta.Status
		started time.Time
		pickup  *state.Pickup
		done    state.PickedUp
		pending bool
		how     string
	}{
		"stopped before any HUP": {mta.NotRunning, time.Time{}, &state.Pickup{}, state.PickedUp{}, false,
			NoneRunning},
		"stopped after attempts that failed": {mta.NotRunning, time.Time{}, &state.Pickup{Attempts: 3},
			state.PickedUp{}, false, NoneRunning},
		"a queue runner alone": {mta.NoListener, changed, &state.Pickup{}, state.PickedUp{}, false,
			NoneRunning},
		"not running after its HUP": {mta.NotRunning, time.Time{}, &state.Pickup{HUPs: told},
			state.PickedUp{}, true, ""},
		"the pid file makes no sense":   {mta.BadPidFile, time.Time{}, &state.Pickup{}, state.PickedUp{}, true, ""},
		"started since":                 {mta.OK, now, nil, none, false, StartedLater},
		"started with the change":       {mta.OK, changed.Add(-StartTells), nil, none, false, StartedLater},
		"started before, and seen late": {mta.OK, changed.Add(-StartTells - time.Second), nil, none, true, NoneRunning},
	} {
		a := &assessment{judgement: judgement{now: now}}
		a.obs.CF = mta.ParseCF([]byte("O ServerCertFile=" + dir + "/host.cert\n"))
		a.obs.Certs = certdir.Dir{Path: dir}
		a.obs.Certs.Cert.Node.Changed = changed
		a.host = &pair{assessment: a, installed: installed{certFile: a.obs.Certs.Cert, matches: true}}
		a.verdict.Sound = true
		a.obs.MTA = mta.Identity{Status: c.status}
		if !c.started.IsZero() {
			a.obs.MTA.Instance = mta.Instance{PID: 8, PIDFile: "/p", PIDFileID: "1:2:3", Started: c.started}
		}
		a.obs.State.Pickup, a.obs.State.PickedUp = c.pickup, c.done
		if c.done.How != "" {
			a.obs.State.PickedUp.Set = SetID(a.obs.Certs)
		}
		_, p := pickup(a, finding{})
		if (p.Pickup != nil) != c.pending || p.PickedUp.How != c.how {
			t.Errorf("%s: %+v, %+v", name, p.Pickup, p.PickedUp)
		}
	}
}

// Where mailcertd cannot see the served certificate, that is a warning with the reason, and not a fault of sendmail. A
// failed attempt is an error.
func TestPickupPending(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		pickup state.Pickup
		sev    Severity
		says   string
		next   time.Duration
	}{
		// no look is due before, because the process that changed the files sends the HUP at once
		"just now": {state.Pickup{}, Warning, "has not picked up", time.Minute},
		"unseen": {state.Pickup{Attempts: 3, Unseen: true, LastError: "x: no route to host",
			Next: now.Add(time.Hour)}, Warning,
			"cannot see which certificate it serves: x: no route to host", time.Hour},
		"failed": {state.Pickup{Attempts: 3, LastError: "it serves serial 7", Next: now.Add(time.Hour)}, Error,
			"3 attempts, the last: it serves serial 7", time.Hour},
		"proving": {state.Pickup{Proving: now.Add(time.Minute)}, Warning, "waits until it serves them", provingEvery},
		"again": {state.Pickup{Attempts: 3, LastError: "it serves serial 7", Proving: now.Add(time.Minute)}, Warning,
			"waits until it serves them", provingEvery},
	} {
		a := &assessment{judgement: judgement{now: now}}
		a.host = &pair{assessment: a}
		d := c.pickup
		d.Since = now.Add(-time.Hour)
		p := pending(a, d)
		if len(p.problems) != 1 || p.problems[0].Reason != PickupPending || p.problems[0].Severity != c.sev ||
			!strings.Contains(p.problems[0].Text, c.says) || !p.next.Equal(now.Add(c.next)) {
			t.Errorf("%s: %+v, looks again at %s", name, p.problems, p.next)
		}
	}
}
