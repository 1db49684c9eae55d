package dane

import (
	"fmt"
	"slices"
	"strings"
)

// changeNotes say how far the change of a pair's key is.
func changeNotes(x *decider, p Pair) []Note {
	c, under := x.m.Changes[p.Name]
	v := x.d.verdicts[p.Name]
	if !under {
		if p.Want == Rotation && !v.may {
			return []Note{{AboutChange, Notice, p.Name, p.File + " is older than key.rotate_after, and is changed as " +
				"soon as the DNS has answered whether there are TLSA records for it", ""}}
		}
		return nil
	}
	grade, text, hint := stageNote(x, p, c, v)
	if c.Why == First {
		text = "this pair is new, and sendmail.cf names it: " +
			strings.ReplaceAll(text, "its next key", "its first key")
		hint = strings.TrimPrefix(hint+"; until then sendmail serves the other pair alone", "; ")
	}
	out := []Note{{AboutChange, grade, p.Name, text, hint}}
	if v.stage == Settling && p.Want == Asked {
		out = append(out, Note{AboutChange, Error, p.Name, "the new key that was asked for is not made, because the " +
			"last change of this key, which did not wait, is not over", "run `mailcertd renew --rekey` again when it " +
			"is over; with --now it does not wait"})
	}
	return out
}

// stageNote says how far a change is, by its stage.
func stageNote(x *decider, p Pair, c Change, v verdict) (grade Grade, text, hint string) {
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
		if asksFor(x, p) {
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
			return grade, text, hint
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
			return addedNote(x, p, c, v)
		}
		return settlingNote(x, p, c, v)
	}
	return grade, text, hint
}

// settlingNote says how long hosts do not accept a key that was changed before its time.
func settlingNote(x *decider, p Pair, c Change, v verdict) (grade Grade, text, hint string) {
	text = fmt.Sprintf("the key was changed at %s, before its TLSA record had been in the DNS for long enough: "+
		"hosts that check TLSA records do not deliver mail to this host ", minute(c.Since))
	if v.until.IsZero() {
		text += fmt.Sprintf("until every name server has the record, and then for up to %s: %s", Spell(x.longest()),
			few(x.waits(c.Next)))
		if asksFor(x, p) {
			hint = "add the record that [tlsa-add] prints now"
		}
	} else {
		text += "until " + minute(v.until) + " at the latest; they try again until then"
	}
	if allSigned(x, SignedNo) {
		return Warning, "the key was changed before its TLSA record had been in the DNS for long enough; the " +
			"records are not signed, so no host checks them", hint
	}
	return Error, text, hint
}

// addedNote says when hosts that check TLSA records accept a new pair.
func addedNote(x *decider, p Pair, c Change, v verdict) (grade Grade, text, hint string) {
	if allSigned(x, SignedNo) {
		return Notice, "this pair is new; the TLSA records are not signed, so no host checks whether they match its " +
			"key", ""
	}
	when := "after " + minute(v.until)
	if v.until.IsZero() {
		when = "when every name server has had its record for " + Spell(x.longest()) + ": " + few(x.waits(c.Next))
		if asksFor(x, p) {
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
func asksFor(x *decider, p Pair) bool {
	return x.in.Mode != Update && slices.ContainsFunc(x.d.Add, func(l Line) bool { return l.Pair == p.Name })
}

// allSigned reports whether that is known of every name.
func allSigned(x *decider, s Signed) bool {
	return !slices.ContainsFunc(x.in.Names, func(name string) bool {
		n, _ := x.m.name(name)
		return n.Signed != s
	})
}
