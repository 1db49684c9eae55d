package dane

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/text"
)

// About is what a note is about.
type About string

// What a note is about.
const (
	AboutChange   About = "change"   // a change of a key is under way
	AboutAdd      About = "add"      // a person has to add records
	AboutRemove   About = "remove"   // a person may remove records
	AboutWrong    About = "wrong"    // no record fits an installed key
	AboutUnsigned About = "unsigned" // the records are not signed
	AboutBogus    About = "bogus"    // their signatures are wrong
	AboutFragile  About = "fragile"  // a record will not fit the next certificate
	AboutTTL      About = "ttl"      // the records have another time to live than the configuration
	AboutUnknown  About = "unknown"  // a name could not be looked at
	AboutForeign  About = "foreign"  // a record is of a key that this host does not know
)

// Grade is how grave a note is.
type Grade int

// The grades, the least grave first.
const (
	Notice Grade = iota
	Warning
	Error
)

// Note is something that a person should know.
type Note struct {
	About About
	Grade Grade
	Pair  string // "": it concerns no single pair
	Text  string
	Hint  string // what a person can do; "": nothing
}

// notes says all that a person should know of a decision. Its sections change nothing.
func notes(x *decider) (out []Note) {
	for _, p := range x.in.Pairs {
		out = append(out, changeNotes(x, p)...)
		out = append(out, wrongNotes(x, p)...)
	}
	out = append(out, lineNotes(x)...)
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		out = append(out, nameNotes(x, n)...)
	}
	return out
}

// wrongNotes report servers whose records do not fit the installed key.
func wrongNotes(x *decider, p Pair) (out []Note) {
	if len(p.Present.SPKI) == 0 || p.Idle || x.d.verdicts[p.Name].stage == Settling {
		return nil
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		var wrong []string
		for _, s := range n.Servers {
			if s.Err == "" && slices.ContainsFunc(s.Records, Record.usable) && !holds(s.Records, p.Present, p.Leaf) {
				wrong = append(wrong, s.String())
			}
		}
		if len(wrong) == 0 {
			continue
		}
		note := Note{AboutWrong, Error, p.Name, fmt.Sprintf("no TLSA record of %s matches the key in %s, so hosts "+
			"that check them do not deliver mail to this host: %s", plain(name), p.File, few(wrong)),
			"publish " + RecordOf(p.Present.ID(), x.ttl()).Line(name)}
		if n.Signed == SignedNo {
			note.Grade = Warning
		}
		if x.in.Mode == Update {
			note.Hint = "mailcertd adds the record; if that does not help, see the log of these servers"
		}
		out = append(out, note)
	}
	return out
}

// lineNotes tells a person what to add and to remove.
func lineNotes(x *decider) (out []Note) {
	say := func(n Note) { out = append(out, n) }
	for _, l := range x.d.Former {
		say(Note{AboutRemove, Warning, l.Pair, "dane.names and dane.ports no longer have " + plain(l.Name) +
			", so that its record does not follow the key: remove it from the DNS: " + l.String(),
			"if hosts still connect to this name and port, add them to dane.names and dane.ports again"})
	}
	if x.in.Mode == Update {
		return out
	}
	for _, l := range x.d.Add {
		say(Note{AboutAdd, Warning, l.Pair, "add this record to the DNS, and keep the others: " + l.String(),
			"mailcertd continues when every name server has the record" + besideWild(x, l.Name)})
	}
	for _, l := range x.d.Remove {
		say(Note{AboutRemove, Notice, l.Pair, "this record is of a key that is no longer used: remove it from " +
			"the DNS: " + l.String(), ""})
	}
	return out
}

// besideWild says why all records of a name are to be added, where it has those of a wildcard name.
func besideWild(x *decider, name string) string {
	if n, _ := x.m.name(name); !n.wild() {
		return ""
	}
	return "; add all of these at once: when the name has a record of its own, those of the wildcard name no longer " +
		"count for it"
}

func plain(name string) string { return strings.TrimSuffix(name, ".") }

func head(s string) string { return s[:min(len(s), 12)] }

func minute(t time.Time) string { return text.Moment(t) }

// Spell writes a time to live in words.
func Spell(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		word string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := d / u.of; n >= 2 || n == 1 && d%u.of == 0 {
			if n == 1 {
				return "1 " + u.word
			}
			return fmt.Sprintf("%d %ss", n, u.word)
		}
	}
	return "0 seconds"
}
