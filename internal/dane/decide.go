package dane

import "time"

// decider works out one decision.
type decider struct {
	seen
	d Decision
}

// Decide decides.
func Decide(in Input, now time.Time) Decision {
	x := &decider{seen: seen{in: in, now: now.UTC().Truncate(time.Second), m: in.Memory.Clone()}}
	x.d.verdicts = map[string]verdict{}
	if !in.Asks && in.Mode == None {
		x.d.Memory = x.m
		return x.d
	}
	x.d.Governed = x.governed()
	x.d.neverAsked = !x.d.Governed && x.m.Looked.IsZero()
	x.dropGone()
	fresh := x.notePresent()
	for _, p := range in.Pairs {
		x.begin(p, fresh[p.Name])
	}
	for _, p := range in.Pairs {
		x.judge(p)
	}
	x.noteKnown()
	x.d.known = x.knows()
	x.records()
	x.forget()
	x.former()
	x.d.Notes, x.d.Steps = notes(x), steps(x)
	x.d.LookAt, x.d.Longest = x.lookAt(), x.longest()
	x.d.Memory = x.m.Clone()
	return x.d
}

// governed reports whether there is a record that the change of a key would break, or is to be one, or a resolver may
// remember one.
func (x *decider) governed() bool { return x.in.Mode != None || x.named() || x.m.Longest > 0 }

// free reports whether the DNS has said that there is no record that the change of a key would break.
func (x *decider) free() bool { return !x.d.Governed && x.answered() }

// agree notes since when every server has the record of the next key.
func (x *decider) agree(c Change) Change {
	if c.Next == "" {
		return c
	}
	missing, unknown := x.lacks(c.Next)
	if len(missing)+len(x.ignored(c.Next)) > 0 {
		c.Seen, c.Agreed, c.Waited = time.Time{}, time.Time{}, 0
		return c
	}
	if len(unknown) > 0 { // a server that gives no answer gives no wrong answer either
		return c
	}
	switch looked := x.looked(); {
	case c.Seen.IsZero():
		c.Seen, c.Agreed, c.Waited = looked, looked, -x.m.Took
	case !c.Agreed.Equal(looked) && x.m.Elapsed > 0: // another look
		passed := min(x.m.Elapsed, int(longestGap/time.Second))
		if c.Agreed.Equal(c.Seen) { // another process may have seen it first, after the last look of this one
			passed = min(passed, since(c.Seen, looked))
		}
		c.Waited += passed
		c.Agreed = looked
	}
	return c
}

// judge says whether the key of a pair may be changed.
func (x *decider) judge(p Pair) {
	c, under := x.m.Changes[p.Name]
	if !under {
		v := verdict{may: !x.d.Governed}
		if v.may && p.Want == Rotation {
			x.d.Careful = true
			if v.may = x.recent(); !x.answered() {
				v.may = x.silent()
			}
		}
		x.d.verdicts[p.Name] = v
		return
	}
	v := verdict{}
	unknown := !x.d.Governed && !x.answered()
	switch {
	case c.Next == "" && !(unknown && x.silent()):
		v.stage = Making
	case unknown:
		v.stage, v.until, v.waits, v.may = Asking, x.silentUntil(), x.unanswered(), x.silent()
	case x.gone():
		v.stage, v.until = Waiting, x.forgotten()
	case c.Seen.IsZero():
		v.stage, v.waits = Publishing, x.waits(c.Next)
	case x.left(c) > 0:
		v.stage = Waiting
		v.until, v.waits = x.ends(c)
	default:
		v.stage = Ready
	}
	x.d.Careful = x.d.Careful || !x.d.Governed && !c.Why.installed()
	if c.Next != "" && !c.Why.installed() && x.free() && x.recent() { // somebody has removed all records
		x.d.verdicts[p.Name] = verdict{may: true, stage: Ready}
		return
	}
	if c.Why.installed() {
		v.stage = Settling
		if v.until = (time.Time{}); x.gone() {
			v.until = x.forgotten()
		} else if !c.Seen.IsZero() {
			v.until, _ = x.ends(c)
		}
	}
	if v.stage == Ready {
		v.waits = x.obstacles(c)
		v.may = len(v.waits) == 0
	}
	x.d.verdicts[p.Name] = v
}

// lookAt is when the DNS is asked next.
func (x *decider) lookAt() time.Time {
	for _, name := range x.in.Names {
		if _, seen := x.m.name(name); !seen {
			return x.now
		}
	}
	if x.d.Careful && !x.recent() {
		return x.now
	}
	every := lookHourly
	if x.in.Mode == None {
		every = lookDaily
	}
	often := lookOften
	if l := x.longest(); l > 0 {
		often = min(max(l/10, time.Second), lookOften)
	}
	if len(x.m.Changes) > 0 || x.getsKnown() || len(x.d.Add)+len(x.d.Remove) > 0 && x.in.Mode != None {
		every = often
	}
	next := x.m.Looked.Add(every)
	for _, o := range x.m.Old {
		if due := x.goes(o); due.Before(next) {
			next = due
			if soon := x.m.Looked.Add(often); next.Before(soon) {
				next = soon
			}
		}
	}
	if next.After(x.now.Add(every)) { // the clock was set back
		return x.now
	}
	return next
}
