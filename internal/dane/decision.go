package dane

import (
	"slices"
	"time"
)

// Mode says who publishes the records. Its values are those of dane.publish.
type Mode string

// The modes.
const (
	None   Mode = "none"   // nobody: mailcertd looks at the records that others have published
	Manual Mode = "manual" // a person, as mailcertd says
	Update Mode = "update" // mailcertd
)

// Pair is a server pair of this host, as it is installed.
type Pair struct {
	Name    string // host or host-ecdsa
	File    string // the name of its key file, for messages
	Present Key    // the installed key; zero: none, or it cannot be read
	Staged  Key    // the next key, which is made already; zero: none
	Leaf    []byte // DER of the installed certificate; nil: none
	// Renewal is when mailcertd renews it, zero: never; Ends is when it expires. Both are for messages.
	Renewal, Ends time.Time
	Want          Why  // Asked or Rotation where the key is to be changed, First where it is to be made, else ""
	Rotates       bool // the configuration lets its key be changed by age
	Idle          bool // sendmail does not use it yet, so no record has to fit its key
	// Placeholder says that files without a key keep its place: its first key was found to have to wait.
	Placeholder bool
}

// Input is all that a decision is based on.
type Input struct {
	Mode  Mode
	Names []string // the names of the records, see NameOf
	TTL   time.Duration
	Pairs []Pair
	// Asks says that the DNS is asked at all. Without it, and with the mode None, keys are changed as if there were no
	// records.
	Asks bool
	// Served says that sendmail uses the installed keys, as far as is known: no pickup is pending. ServedSince is when
	// that was found out; zero: it is not known.
	Served      bool
	ServedSince time.Time
	Believed    bool // the clock is believed
	Memory      Memory
}

// Times of looks. A look asks a few questions to each name server.
const (
	lookDaily  = 24 * time.Hour // where mailcertd publishes nothing
	lookHourly = time.Hour      // where it does, so that a record that somebody removes comes back
	lookOften  = 5 * time.Minute
	// longestGap is how much of the time between two looks counts as a wait, at most.
	longestGap = 15 * time.Minute
	// fresh is how old the look may be by which a key is changed.
	fresh = time.Hour
	// unansweredFor is how long the DNS may be silent before a key is changed without it, where no record was ever
	// seen.
	unansweredFor = 7 * 24 * time.Hour
)

// Decision is what follows from an Input.
type Decision struct {
	Memory Memory
	// Governed says that there are records that a change of a key would break, or that mailcertd is to publish them:
	// keys are changed as their records allow it.
	Governed bool
	Names    []string // those to be looked at: the names of the Input, and former ones with records of this host
	Edits    []Edit   // for Update: what the zone must have
	Add      []Line   // what a person has to add, or mailcertd adds
	Remove   []Line   // what a person has to remove, or mailcertd removes
	Former   []Line   // records of this host's keys at names that are no longer configured, for a person to remove
	Steps    []Step   // of all changes, in their order
	Notes    []Note
	LookAt   time.Time // when the DNS is to be asked at the latest; zero: never
	// Careful says that a key is changed by what the next look sees where no record is known: the name servers
	// themselves have to be asked, because a resolver may remember for hours that there was no record.
	Careful bool
	// Longest is how long resolvers may remember records, as far as was seen.
	Longest time.Duration

	verdicts   map[string]verdict
	known      []string // the keys whose records resolvers know
	neverAsked bool
}

// Edit is what one name must have afterwards. Other records stay.
type Edit struct {
	Name       string
	Must, Drop []Record
	// Retime are the records that get the time to live of the configuration, if there are no others; nil: it is right.
	Retime []Record
}

// Line is one record at one name.
type Line struct {
	Name   string
	Record Record
	Pair   string
}

// String is the line of a zone file.
func (l Line) String() string { return l.Record.Line(l.Name) }

// verdict says whether a key may be changed now.
type verdict struct {
	may   bool
	stage Stage
	until time.Time // when the wait ends, for Asking, Waiting and Settling; zero: it is not known
	waits []string  // what the stage waits for
}

// May reports whether the key of a pair may be changed now.
func (d Decision) May(pair string) bool {
	v, known := d.verdicts[pair]
	return !known || v.may
}

// Stage is how far the change of a pair's key is; "": none is under way.
func (d Decision) Stage(pair string) Stage { return d.verdicts[pair].stage }

// Under reports whether a change of the pair's key is under way whose next key is made, or is to be made, and is not
// installed.
func (d Decision) Under(pair string) bool {
	c, is := d.Memory.Changes[pair]
	return is && !c.Why.installed()
}

// NeverAsked reports whether the DNS was never asked, so that nobody knows what it has: after the state was lost, a
// next key may have a record there.
func (d Decision) NeverAsked() bool { return d.neverAsked }

// GaveUp reports whether the key with that ID was made for a change that was given up.
func (d Decision) GaveUp(key string) bool {
	return slices.ContainsFunc(d.Memory.Old, func(o Old) bool { return o.Unused && o.Key == key })
}

// Stage is a step of the change of a key.
type Stage string

// The stages, in their order.
const (
	Making     Stage = "making"     // the next key is not made yet
	Asking     Stage = "asking"     // the DNS has not answered whether there are records
	Publishing Stage = "publishing" // not every name server has its record
	Waiting    Stage = "waiting"    // resolvers may still remember the records without it
	Ready      Stage = "ready"      // the key may be changed
	Settling   Stage = "settling"   // the key is installed already, and resolvers may still not know its record
)
