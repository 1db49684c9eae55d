package dane

import (
	"fmt"
	"slices"
	"time"
)

// decider works out one decision.
type decider struct {
	in  Input
	now time.Time
	m   Memory
	d   Decision
}

// Decide decides.
func Decide(in Input, now time.Time) Decision {
	x := &decider{in: in, now: now.UTC().Truncate(time.Second), m: in.Memory.Clone()}
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

// named reports whether a name server has a record that the change of a key would break.
func (x *decider) named() bool {
	return slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return n.named()
	})
}

// gone reports whether all records were removed, and resolvers may remember them.
func (x *decider) gone() bool {
	return x.in.Mode == None && x.m.Longest > 0 && x.answered() && !x.named()
}

// forgotten is when no resolver remembers records that were removed.
func (x *decider) forgotten() time.Time {
	return x.lastLook().Add(time.Duration(x.m.Longest-x.m.Lowered+1) * time.Second)
}

// lastLook is when the DNS was last asked, from which a wait is counted, so that its end is the same one at each
// decision. It is now if the DNS was not asked lately.
func (x *decider) lastLook() time.Time {
	if age := x.now.Sub(x.m.Looked); age < 0 || age > longestGap {
		return x.now
	}
	return x.m.Looked
}

// answered reports whether the last look has seen all names.
func (x *decider) answered() bool {
	return !slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return !n.known()
	})
}

// silent reports whether the DNS was asked in vain for so long that a key is changed without it.
func (x *decider) silent() bool {
	until := x.silentUntil()
	return !until.IsZero() && !x.now.Before(until)
}

// silentUntil is when a DNS that gives no answer is waited for no longer; zero: it was not asked yet.
func (x *decider) silentUntil() (until time.Time) {
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		if !n.known() && n.Since.IsZero() {
			return time.Time{}
		}
		if at := n.Since.Add(unansweredFor); !n.known() && at.After(until) {
			until = at
		}
	}
	return until
}

// unanswered are the names of which it is not known whether they have records.
func (x *decider) unanswered() (out []string) {
	for _, name := range x.in.Names {
		if n, _ := x.m.name(name); !n.known() {
			out = append(out, plain(name))
		}
	}
	return out
}

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
	case !c.Agreed.Equal(looked): // another look
		c.Waited += min(x.m.Elapsed, int(longestGap/time.Second))
		c.Agreed = looked
	}
	return c
}

// looked is when the name was looked at whose look is the oldest.
func (x *decider) looked() (at time.Time) {
	for i, name := range x.in.Names {
		if n, _ := x.m.name(name); i == 0 || n.At.Before(at) {
			at = n.At
		}
	}
	return at
}

// lacks says which servers lack the record of a key, and of which it is not known; both nil: every server of every name
// has it.
func (x *decider) lacks(key string) (missing, unknown []string) {
	r := RecordOf(key, 0)
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		no, why := n.lacks(r)
		if len(no) > 0 {
			missing = append(missing, plain(name)+": "+few(no))
		}
		if len(why) > 0 {
			unknown = append(unknown, plain(name)+": "+few(why))
		}
	}
	return missing, unknown
}

// waits says what is missing until every server has the record of a key, and mail hosts use it.
func (x *decider) waits(key string) []string {
	return append(slices.Concat(x.lacks(key)), x.ignored(key)...)
}

// ignored says at which servers mail hosts would ignore the record of a key. When the record with the stronger digest
// is gone, resolvers still remember it, so a wait begins only then.
func (x *decider) ignored(key string) (out []string) {
	var k Key
	for _, p := range x.in.Pairs {
		for _, of := range []Key{p.Present, p.Staged} {
			if of.ID() == key {
				k = of
			}
		}
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		for _, s := range n.Servers {
			r := RecordOf(key, 0)
			if s.Err == "" && slices.ContainsFunc(s.Records, r.Same) && weaker(s.Records, r) &&
				!holds(s.Records, k, nil) {
				out = append(out, fmt.Sprintf("%s: %s: mail hosts ignore the record 3 1 1 of this key, because there "+
					"is a record 3 1 2 of another key", plain(name), s.String()))
			}
		}
	}
	return out
}

// longest is the longest time to live that a record may have in a resolver's memory.
func (x *decider) longest() time.Duration {
	most := time.Duration(x.m.Longest) * time.Second
	if x.in.Mode != None {
		most = max(most, x.in.TTL)
	}
	return most
}

// left is how long the change still has to wait. Where the daemon runs all the time, it is the longest time to live,
// from when every server had the record, and a second, because the times of looks have full seconds.
func (x *decider) left(c Change) time.Duration {
	return x.longest() + time.Second - time.Duration(c.Waited)*time.Second
}

// ends is when the wait ends at the earliest; zero: it does not go on, because of the servers of silent.
func (x *decider) ends(c Change) (at time.Time, silent []string) {
	if _, silent = x.lacks(c.Next); len(silent) > 0 {
		return time.Time{}, silent
	}
	return x.lastLook().Add(max(x.left(c), 0)), nil
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

// recent reports whether the DNS was asked within the last hour. Somebody may have published the first record since an
// earlier look.
func (x *decider) recent() bool {
	age := x.now.Sub(x.m.Looked)
	return age <= fresh && age >= -fresh
}

// obstacles are why a key may not be changed although its record has been in the DNS for long enough.
func (x *decider) obstacles(c Change) (out []string) {
	if !x.in.Believed {
		out = append(out, "mailcertd does not believe the clock of this host, and another problem says why")
	}
	_, unknown := x.lacks(c.Next)
	out = append(out, unknown...)
	if age := x.now.Sub(x.looked()); age > fresh || age < -fresh {
		out = append(out, "the last answers of the DNS are more than an hour old")
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		if n.Signed == SignedBogus && n.Err == "" {
			out = append(out, fmt.Sprintf("%s: %s", plain(name), n.SignedWhy))
		}
	}
	return out
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
