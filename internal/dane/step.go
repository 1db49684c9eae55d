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
func (x *decider) sentence(w StepWord) string {
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
