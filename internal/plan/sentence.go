package plan

import "strings"

// Verb is the verb of a step, in each form that a sentence about the step needs.
type Verb struct {
	base  string // for "would create" and "could not create"
	past  string // for a step that is done: "created"
	doing string // for a step in progress: "creating"
}

// The verbs of all steps.
var (
	toAnswer  = Verb{"answer", "answered", "answering"}
	toAsk     = Verb{"ask", "asked", "asking"}
	toChange  = Verb{"change", "changed", "changing"}
	toCreate  = Verb{"create", "created", "creating"}
	toDelete  = Verb{"delete", "deleted", "deleting"}
	toFinish  = Verb{"finish", "finished", "finishing"}
	ToInstall = Verb{"install", "installed", "installing"}
	toIssue   = Verb{"issue", "issued", "issuing"}
	toMake    = Verb{"make", "made", "making"}
	toMove    = Verb{"move", "moved", "moving"}
	toPut     = Verb{"put", "put", "putting"}
	toRemove  = Verb{"remove", "removed", "removing"}
	toRepair  = Verb{"repair", "repaired", "repairing"}
	ToRestore = Verb{"restore", "restored", "restoring"}
	toTell    = Verb{"tell", "told", "telling"}
	toTrust   = Verb{"start to trust", "started to trust", "starting to trust"}
)

// With returns the sentence of this verb and an object.
func (v Verb) With(object string) Sentence { return Sentence{{v, object}} }

// Sentence describes a step for people, in one or more clauses. It has no single text: the right form depends on
// whether the step is still to be done, in progress, done or failed.
type Sentence []Clause

// Clause is a verb and its object.
type Clause struct {
	verb   Verb
	object string
}

// Base is the form for a list of planned steps: "create the private CA in …".
func (s Sentence) Base() string { return s.join(func(v Verb) string { return v.base }) }

// Would is for a step that is not done yet: "would create the private CA in …".
func (s Sentence) Would() string { return "would " + s.Base() }

// Did is for a step that is done: "created the private CA in …".
func (s Sentence) Did() string { return s.join(func(v Verb) string { return v.past }) }

// Doing is for a step in progress: "creating the private CA in …".
func (s Sentence) Doing() string { return s.join(func(v Verb) string { return v.doing }) }

// CouldNot is for a step that has failed: "could not create the private CA in …".
func (s Sentence) CouldNot() string { return "could not " + s.Base() }

// MarshalText gives the base form for JSON.
func (s Sentence) MarshalText() ([]byte, error) { return []byte(s.Base()), nil }

func (s Sentence) join(form func(Verb) string) string {
	var parts []string
	for _, c := range s {
		parts = append(parts, form(c.verb)+" "+c.object)
	}
	return strings.Join(parts, " and ")
}
