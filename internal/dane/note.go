package dane

import (
	"fmt"
	"slices"
	"strings"
	"time"
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

func (x *decider) note(n Note) { x.d.Notes = append(x.d.Notes, n) }

// notes says all that a person should know.
func (x *decider) notes() {
	for _, p := range x.in.Pairs {
		x.noteChange(p)
		x.noteWrong(p)
	}
	x.noteLines()
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		x.noteName(n)
	}
}

// noteChange says how far the change of a pair's key is.
func (x *decider) noteChange(p Pair) {
	c, under := x.m.Changes[p.Name]
	v := x.d.verdicts[p.Name]
	if !under {
		if p.Want == Rotation && !v.may {
			x.note(Note{AboutChange, Notice, p.Name, p.File + " is older than key.rotate_after, and is changed as " +
				"soon as the DNS has answered whether there are TLSA records for it", ""})
		}
		return
	}
	grade, text, hint := Notice, "", ""
	switch v.stage {
	case Making:
		text = "its next key is made now, and is used when its TLSA record has been in the DNS for long enough"
	case Asking:
		grade = Warning
		text = "its next key is not used yet, because the DNS has not answered whether there are TLSA records that " +
			"the key does not match: " + few(v.waits)
		hint = "`mailcertd renew --rekey --now` uses the key without an answer"
		if v.until.IsZero() {
			text += "; mailcertd has not asked it yet"
		} else {
			text += "; without an answer, the key is used at " + minute(v.until)
			hint = "correct what [tlsa-unknown] says; " + hint
		}
	case Publishing:
		text = "its next key is not used yet, because not every name server has its TLSA record: " + few(v.waits) +
			"; it is used " + Spell(x.longest()) + " after all have it"
		if x.now.Sub(c.Since) > lookDaily {
			grade, hint = Warning, "check the zone transfers to these name servers"
		}
		if x.asksFor(p) {
			hint = "add the record that [tlsa-add] prints"
		}
		if len(x.ignored(c.Next)) > 0 {
			grade, hint = Warning, "remove the record 3 1 2, or add that of the next key too"
		}
	case Waiting:
		if len(v.waits) > 0 {
			text = "its next key is not used yet, because not every name server says that it has its TLSA record: " +
				few(v.waits)
			if x.now.Sub(c.Agreed) > lookDaily {
				grade, hint = Warning, "check that these name servers run, and that this host can reach their port 53"
			}
			break
		}
		text = "every name server has the TLSA record of its next key, which is used at " + minute(v.until) +
			", when no resolver remembers the records without it"
		if x.gone() {
			text = "all TLSA records were removed; its next key is used at " + minute(v.until) +
				", when no resolver remembers them"
		}
	case Ready:
		text = "its next key is used as soon as there is a certificate for it"
		if len(v.waits) > 0 {
			grade, text = Warning, "its next key is not used yet: "+few(v.waits)
			hint = "correct that first; `mailcertd renew --rekey --now` does not wait for it"
		}
	case Settling:
		if c.Why == Added {
			grade, text, hint = x.added(p, c, v)
			break
		}
		grade = Error
		text = fmt.Sprintf("the key was changed at %s, before its TLSA record had been in the DNS for long enough: "+
			"hosts "+
			"that check TLSA records do not deliver mail to this host ", minute(c.Since))
		if v.until.IsZero() {
			text += fmt.Sprintf("until every name server has the record, and then for up to %s: %s", Spell(x.longest()),
				few(x.waits(c.Next)))
			if x.asksFor(p) {
				hint = "add the record that [tlsa-add] prints now"
			}
		} else {
			text += "until " + minute(v.until) + " at the latest; they try again until then"
		}
		if x.signed(SignedNo) {
			grade = Warning
			text = "the key was changed before its TLSA record had been in the DNS for long enough; the records are " +
				"not " +
				"signed, so no host checks them"
		}
	}
	if c.Why == First {
		text = "this pair is new, and sendmail.cf names it: " +
			strings.ReplaceAll(text, "its next key", "its first key")
		hint = strings.TrimPrefix(hint+"; until then sendmail serves the other pair alone", "; ")
	}
	x.note(Note{AboutChange, grade, p.Name, text, hint})
	if v.stage == Settling && p.Want == Asked {
		x.note(Note{AboutChange, Error, p.Name, "the new key that was asked for is not made, because the last change " +
			"of this key, which did not wait, is not over", "run `mailcertd renew --rekey` again when it is over; " +
			"with --now it does not wait"})
	}
}

// added says when hosts that check TLSA records accept a new pair.
func (x *decider) added(p Pair, c Change, v verdict) (grade Grade, text, hint string) {
	if x.signed(SignedNo) {
		return Notice, "this pair is new; the TLSA records are not signed, so no host checks whether they match its " +
			"key", ""
	}
	when := "after " + minute(v.until)
	if v.until.IsZero() {
		when = "when every name server has had its record for " + Spell(x.longest()) + ": " + few(x.waits(c.Next))
		if x.asksFor(p) {
			hint = "add the record that [tlsa-add] prints now"
		}
	}
	if p.Idle {
		return Notice, "this pair is new; let sendmail.cf name it only " + when, hint
	}
	if hint == "" && len(x.in.Pairs) > 1 {
		hint = "until then, let sendmail.cf name only the other pair"
	}
	return Error, "this pair is new, and sendmail uses it already: hosts that check TLSA records deliver mail to " +
		"this host only " + when, hint
}

// asksFor reports whether a person is told to add a record of the pair: only the name servers that lag may lack it.
func (x *decider) asksFor(p Pair) bool {
	return x.in.Mode != Update && slices.ContainsFunc(x.d.Add, func(l Line) bool { return l.Pair == p.Name })
}

// signed reports whether that is known of every name.
func (x *decider) signed(s Signed) bool {
	return !slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return n.Signed != s
	})
}

// noteWrong reports servers whose records do not fit the installed key.
func (x *decider) noteWrong(p Pair) {
	if len(p.Present.SPKI) == 0 || p.Idle || x.d.verdicts[p.Name].stage == Settling {
		return
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
		x.note(note)
	}
}

// noteLines tells a person what to add and to remove.
func (x *decider) noteLines() {
	for _, l := range x.d.Former {
		x.note(Note{AboutRemove, Warning, l.Pair, "dane.names and dane.ports no longer have " + plain(l.Name) +
			", so that its record does not follow the key: remove it from the DNS: " + l.String(),
			"if hosts still connect to this name and port, add them to dane.names and dane.ports again"})
	}
	if x.in.Mode == Update {
		return
	}
	for _, l := range x.d.Add {
		x.note(Note{AboutAdd, Warning, l.Pair, "add this record to the DNS, and keep the others: " + l.String(),
			"mailcertd continues when every name server has the record" + x.besideWild(l.Name)})
	}
	for _, l := range x.d.Remove {
		x.note(Note{AboutRemove, Notice, l.Pair, "this record is of a key that is no longer used: remove it from " +
			"the DNS: " +
			l.String(), ""})
	}
}

// besideWild says why all records of a name are to be added, where it has those of a wildcard name.
func (x *decider) besideWild(name string) string {
	if n, _ := x.m.name(name); !n.wild() {
		return ""
	}
	return "; add all of these at once: when the name has a record of its own, those of the wildcard name no longer " +
		"count for it"
}

// steps lists the steps of all changes, the earlier ones first.
func (x *decider) steps() {
	add := func(pair string, word StepWord, at time.Time, done bool) {
		x.d.Steps = append(x.d.Steps, Step{pair, word, x.sentence(word), at, done})
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
}

// replaced reports whether the change has replaced that key before its time.
func (c Change) replaced(o Old) bool { return c.Why == AtOnce && o.Since.Equal(c.Since) && !o.Unused }

func plain(name string) string { return strings.TrimSuffix(name, ".") }

func head(s string) string { return s[:min(len(s), 12)] }

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

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
