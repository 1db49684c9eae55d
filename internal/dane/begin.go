package dane

import (
	"slices"
	"time"
)

// dropGone gives up the changes of pairs that are gone, and notes that their keys are not used any more.
func (x *decider) dropGone() {
	is := func(pair string) bool {
		return slices.ContainsFunc(x.in.Pairs, func(p Pair) bool { return p.Name == pair })
	}
	for pair, key := range x.m.Present {
		if !is(pair) {
			delete(x.m.Present, pair)
			x.m.retire(pair, key, x.now, false)
		}
	}
	for pair, c := range x.m.Changes {
		if !is(pair) {
			delete(x.m.Changes, pair)
			x.m.retire(pair, c.Next, x.now, true)
		}
	}
}

// notePresent compares the installed keys with those of the last decision, and says which pairs had none then. Where no
// record depends on them they are not remembered.
func (x *decider) notePresent() (fresh map[string]bool) {
	if !x.d.Governed {
		x.m.Present = nil
		for _, p := range x.in.Pairs {
			if c, under := x.m.Changes[p.Name]; under && c.Next != "" && c.Next == p.Present.ID() {
				delete(x.m.Changes, p.Name)
			}
		}
		return nil
	}
	fresh = map[string]bool{}
	others := len(x.m.Present) > 0
	for _, p := range x.in.Pairs {
		is, was := p.Present.ID(), x.m.Present[p.Name]
		fresh[p.Name] = was == ""
		if is == "" || is == was || was == "" && p.Idle && !x.answered() {
			continue
		}
		switch c, under := x.m.Changes[p.Name]; {
		case was != "":
			x.changed(p, was, is)
		case under && c.Why == First:
			if c.Next != is {
				x.m.retire(p.Name, c.Next, x.now, true)
				c = Change{Next: is, Made: x.now}
			}
			c.Why, c.Since = Added, x.now // if its record has been everywhere for long enough, the change is complete
			x.m.revive(is)
			x.m.change(p.Name, c)
		case under && c.Next == is:
			c.Why, c.Since = AtOnce, x.now
			x.m.change(p.Name, c)
		case !under && x.remembered() && (others || p.Idle): // without the state, nobody knows since when it is there
			x.m.change(p.Name, Change{Why: Added, Since: x.now, Next: is, Made: x.now})
		}
		if x.m.Present == nil {
			x.m.Present = map[string]string{}
		}
		x.m.Present[p.Name] = is
	}
	return fresh
}

// changed notes that another key is installed now.
func (x *decider) changed(p Pair, was, is string) {
	c, under := x.m.Changes[p.Name]
	x.m.retire(p.Name, was, x.now, false)
	x.m.revive(is)
	if under && c.Next == is { // if its record has been everywhere for long enough, the change is complete
		c.Why, c.Since = AtOnce, x.now
	} else {
		if under {
			x.m.retire(p.Name, c.Next, x.now, true)
		}
		c = Change{Why: AtOnce, Since: x.now, Next: is, Made: x.now}
		if k, known := x.m.Known[is]; known { // a person has published its record before
			c.Seen, c.Agreed, c.Waited = k.Seen, k.Agreed, k.Waited
		}
	}
	x.m.change(p.Name, c)
}

// begin begins a change, and notes its next key. fresh says that no key of the pair is remembered.
func (x *decider) begin(p Pair, fresh bool) {
	c, under := x.m.Changes[p.Name]
	if under && c.Why.installed() {
		if c = x.agree(c); !c.Seen.IsZero() && x.left(c) <= 0 { // it is complete, and the next one may begin
			delete(x.m.Changes, p.Name)
			c, under = Change{}, false
		}
	}
	switch {
	case !under && fresh && x.leftOver(p) && p.Want != First:
		c, under = Change{Why: Resumed, Since: x.now}, true
	case !under && x.begins(p, fresh):
		c, under = Change{Why: p.Want, Since: x.now}, true
	case !under && p.Idle && x.named() && x.missing(p.Present.ID()):
		c, under = Change{Why: Added, Since: x.now, Next: p.Present.ID(), Made: x.now}, true
	case under && c.Why == First && x.answered() && !x.remembered(): // it need not wait
		delete(x.m.Changes, p.Name)
		return
	case under && c.Why == Rotation && p.Want == Asked: // it goes on, also without a key.rotate_after
		c.Why = Asked
	case under && c.Why == Rotation && p.Want == "" && !p.Rotates, under && c.Why == First && p.Want != First,
		under && c.Why.installed() && x.free():
		x.m.retire(p.Name, c.Next, x.now, true)
		delete(x.m.Changes, p.Name)
		return
	}
	if !under {
		return
	}
	if !c.Why.installed() {
		staged := p.Staged.ID()
		if c.Next != "" && c.Next != staged { // somebody has removed or replaced the next key
			x.m.retire(p.Name, c.Next, x.now, true)
			c.Next, c.Made, c.Seen, c.Agreed, c.Waited = "", time.Time{}, time.Time{}, time.Time{}, 0
		}
		if c.Next == "" && staged != "" {
			c.Next, c.Made = staged, x.now
			x.m.revive(staged)
		}
	}
	x.m.change(p.Name, x.agree(c))
}

// begins reports whether the key that is wanted has to wait, or may have to.
func (x *decider) begins(p Pair, fresh bool) bool {
	switch p.Want {
	case Asked: // an answer that is missing does not say that there are no records
		return x.d.Governed || !x.answered()
	case Rotation:
		return x.d.Governed
	case First: // a key that was there before was lost, and does not wait
		unknown := !x.answered() && (p.Placeholder || x.in.Mode != None && x.served())
		return fresh && !p.Idle && (x.remembered() || unknown) || p.Placeholder && unknown
	}
	return false
}

// leftOver reports whether there is a next key that no change explains: the state was lost.
func (x *decider) leftOver(p Pair) bool {
	next, present := p.Staged.ID(), p.Present.ID()
	return next != "" && present != "" && next != present &&
		!slices.ContainsFunc(x.m.Old, func(o Old) bool { return o.Key == next })
}
