package dane

import "time"

// Step is one step of the change of a key.
type Step struct {
	Pair string
	Word StepWord
	What string    // the step as a sentence
	At   time.Time // when it was done, or will be at the earliest; zero: not known yet
	Done bool
}

// StepWord names a step for programs. The words must not change: JSON and the metrics have them.
type StepWord string

// The steps.
const (
	StepAsked     StepWord = "asked"
	StepRotation  StepWord = "rotation"
	StepAtOnce    StepWord = "at_once"
	StepAdded     StepWord = "added"
	StepResumed   StepWord = "resumed"
	StepMade      StepWord = "made"
	StepSeen      StepWord = "seen"
	StepMayChange StepWord = "may_change"
	StepChanged   StepWord = "changed"
	StepGivenUp   StepWord = "given_up"
	StepSettled   StepWord = "settled"
	StepRemoved   StepWord = "removed"
)

// steps returns the steps of all changes, the earlier ones first.
func steps(x *decider) (out []Step) {
	add := func(pair string, word StepWord, at time.Time, done bool) {
		out = append(out, Step{pair, word, sentence(x, word), at, done})
	}
	for _, o := range x.m.Old {
		if x.m.Changes[o.Pair].replaced(o) {
			continue
		}
		word := StepChanged
		if o.Unused {
			word = StepGivenUp
		}
		add(o.Pair, word, o.Since, true)
		add(o.Pair, StepRemoved, x.goes(o), false)
	}
	for _, p := range x.in.Pairs {
		c, under := x.m.Changes[p.Name]
		if !under {
			continue
		}
		end := x.d.verdicts[p.Name].until
		if x.d.verdicts[p.Name].stage == Ready {
			end = x.now
		}
		add(p.Name, firstStep(c.Why), c.Since, true)
		if !c.Why.installed() {
			add(p.Name, StepMade, c.Made, !c.Made.IsZero())
		}
		add(p.Name, StepSeen, c.Seen, !c.Seen.IsZero())
		if !c.Why.installed() {
			add(p.Name, StepMayChange, end, !end.IsZero() && x.d.verdicts[p.Name].may)
			continue
		}
		add(p.Name, StepSettled, end, false)
		for _, o := range x.m.Old {
			at := time.Time{} // it stays until every name server has the other one
			if !c.Seen.IsZero() {
				at = x.goes(o)
			}
			if o.Pair == p.Name && c.replaced(o) {
				add(p.Name, StepRemoved, at, false)
			}
		}
	}
	return out
}

// replaced reports whether the change has replaced that key before its time.
func (c Change) replaced(o Old) bool { return c.Why == AtOnce && o.Since.Equal(c.Since) && !o.Unused }

// firstStep is the step with which a change begins.
func firstStep(w Why) StepWord {
	switch w {
	case Asked:
		return StepAsked
	case Rotation:
		return StepRotation
	case AtOnce:
		return StepAtOnce
	case Resumed:
		return StepResumed
	}
	return StepAdded
}

// stepSentences say the steps to a person. It is no map, which would be made at each start of the program.
var stepSentences = [...]struct {
	word StepWord
	text string
}{
	{StepAsked, "a new key was asked for"},
	{StepRotation, "the key became too old"},
	{StepAtOnce, "the key was changed at once"},
	{StepAdded, "the pair was added"},
	{StepResumed, "an earlier next key was found"},
	{StepMade, "the next key is made"},
	{StepSeen, "every name server has its TLSA record"},
	{StepMayChange, "the key may be changed"},
	{StepChanged, "the key was changed"},
	{StepGivenUp, "a next key was given up"},
	{StepSettled, "no resolver remembers the records without it"},
	{StepRemoved, "the TLSA record of the old key is removed"},
}

// sentence says a step to a person, who removes records where mailcertd does not.
func sentence(x *decider, w StepWord) string {
	if w == StepRemoved && x.in.Mode != Update {
		return "the TLSA record of the old key may be removed"
	}
	for _, s := range stepSentences {
		if s.word == w {
			return s.text
		}
	}
	return ""
}
