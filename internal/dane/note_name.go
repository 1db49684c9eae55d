package dane

import (
	"fmt"
	"slices"
	"time"
)

// nameNotes say what is wrong with the records of one name.
func nameNotes(x *decider, n Name) (out []Note) {
	say := func(n Note) { out = append(out, n) }
	all := n.Records()
	usable := slices.ContainsFunc(all, Record.usable)
	refused := n.Signed == SignedBogus && usable // that is the graver news
	if n.Err != "" && !refused && (x.in.Mode != None || len(n.Servers) > 0 || len(x.m.Changes) > 0) {
		say(Note{AboutUnknown, Warning, "", fmt.Sprintf("the lookup of the TLSA records of %s has failed since %s: "+
			"%s", plain(n.Name), minute(n.Since), n.Err), "no key is changed while that is so; correct dns.server or " +
			"dns.resolver in mailcertd.yaml, or the name server in the message"})
	}
	if !usable {
		return out
	}
	switch n.Signed {
	case SignedNo:
		say(Note{AboutUnsigned, Warning, "", fmt.Sprintf("the TLSA records of %s have no effect, because they "+
			"are not signed", plain(n.Name)), "sign the zone (DNSSEC), and give its DS record to the zone above it, " +
			"usually through the registrar"})
	case SignedBogus:
		say(Note{AboutBogus, Error, "", fmt.Sprintf("the TLSA records of %s cannot be validated, so hosts that "+
			"check them do not deliver mail to this host: %s", plain(n.Name), n.SignedWhy),
			"sign the zone again, and check that the zone above it has the DS record of one of its keys"})
	case SignedUnknown:
		if n.SignedWhy != "" {
			say(Note{AboutUnsigned, Notice, "", fmt.Sprintf("mailcertd cannot find out whether the TLSA records "+
				"of %s are signed: %s", plain(n.Name), n.SignedWhy), "run a resolver on this host that checks " +
				"signatures (DNSSEC), such as local_unbound, and set dns.resolver to 127.0.0.1"})
		}
	}
	return slices.Concat(out, fragileNotes(x, n, all), foreignNotes(x, n, all), ttlNotes(x, n))
}

// fragileNotes report records that the next certificate will not fit.
func fragileNotes(x *decider, n Name, all []Record) (out []Note) {
	grade, alone := Notice, ""
	for _, p := range x.in.Pairs {
		stays := slices.DeleteFunc(slices.Clone(all), func(r Record) bool {
			return r.Usage != usageEE || r.Selector != selectorSPKI
		})
		if len(p.Present.SPKI) > 0 && !holds(stays, p.Present, nil) && holds(all, p.Present, p.Leaf) {
			grade, alone = Warning, p.File
		}
	}
	for _, r := range all {
		text := ""
		switch {
		case r.Usage == usageEE && r.Selector == selectorCert:
			text = "names a whole certificate, and will not match the next one" + nextLeaf(x, r)
		case r.Usage == usageTA:
			text = "names a CA, and will not match the next certificate" + nextLeaf(x, r) + ", if another CA issues " +
				"it, such as the issuer's next intermediate CA"
		default:
			continue
		}
		note := Note{AboutFragile, grade, "", fmt.Sprintf("the TLSA record %s %s… of %s %s", r.Kind(), head(r.Data),
			plain(n.Name), text),
			"remove it before that: the record 3 1 1 of the key is enough, because it stays"}
		if grade == Warning {
			note.Text += ", and no other record matches " + alone
			note.Hint = "publish the record 3 1 1 of its key too, which stays when the certificate is renewed: " +
				"`mailcertd status` shows it"
			if x.in.Mode == Update {
				note.Hint = "mailcertd adds the record 3 1 1 of its key, which stays when the certificate is renewed"
			}
		}
		out = append(out, note)
	}
	return out
}

// nextLeaf says when there will be another certificate than the one that the record names or, where it names a CA, when
// the first of the pairs gets another one: until then the owner can act.
func nextLeaf(x *decider, r Record) string {
	var renewal, ends time.Time
	for _, p := range x.in.Pairs {
		if p.Ends.IsZero() || r.Usage == usageEE && !holds([]Record{r}, Key{}, p.Leaf) {
			continue
		}
		renewal, ends = earlier(renewal, p.Renewal), earlier(ends, p.Ends)
	}
	switch {
	case !renewal.IsZero() && !x.now.Before(renewal):
		return ", which is due now"
	case !renewal.IsZero():
		return ", which is due at " + minute(renewal)
	case !ends.IsZero():
		return ", which is needed before " + minute(ends) + ", when the present one expires"
	}
	return "" // the record names none of the installed certificates
}

// earlier is the earlier one of two times, of which the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// foreignNotes report records 3 1 1 of keys that no pair of this host has or had, as far as is remembered. It says
// nothing while an installed key is not known.
func foreignNotes(x *decider, n Name, all []Record) []Note {
	known := map[string]bool{}
	for _, p := range x.in.Pairs {
		if p.Present.ID() == "" && x.m.Present[p.Name] == "" && p.Want != First {
			return nil
		}
		known[p.Present.ID()], known[p.Staged.ID()], known[x.m.Present[p.Name]] = true, true, true
	}
	for _, c := range x.m.Changes {
		known[c.Next] = true
	}
	for _, o := range x.m.Old {
		known[o.Key] = true
	}
	var lines []string
	for _, r := range all {
		if r.Same(RecordOf(r.Data, 0)) && !known[r.Data] {
			lines = append(lines, r.Line(n.Name))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	what := "1 TLSA record of another key, which matches no key of this host"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d TLSA records of other keys, which match no key of this host", len(lines))
	}
	return []Note{{AboutForeign, Notice, "", plain(n.Name) + " has " + what + ": " + few(lines), "mailcertd never " +
		"removes records of keys that it does not know; if no other host of this name uses it, remove the record " +
		"from the DNS"}}
}

// ttlNotes report a time to live that mailcertd does not correct.
func ttlNotes(x *decider, n Name) []Note {
	is, ours := x.otherTTL(n), x.ours(n)
	if x.in.Mode == None || is == 0 || len(ours) == 0 || x.retimes(n) != nil {
		return nil
	}
	note := Note{AboutTTL, Notice, "", fmt.Sprintf("the TLSA records of %s have a TTL of %d seconds, and dane.ttl "+
		"is %d", plain(n.Name), is, RecordOf("", x.in.TTL).TTL), "change it in the DNS, or change dane.ttl"}
	if x.in.Mode == Update {
		note.Text += "; mailcertd does not change it, because the name also has records that it has not made, and " +
			"all records of a name have one TTL"
		note.Hint = "change it where these records are made, or change dane.ttl"
	}
	return []Note{note}
}
