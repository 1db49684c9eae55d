package dane

import (
	"fmt"
	"slices"
)

// noteName says what is wrong with the records of one name.
func (x *decider) noteName(n Name) {
	all := n.Records()
	usable := slices.ContainsFunc(all, Record.usable)
	refused := n.Signed == SignedBogus && usable // that is the graver news
	if n.Err != "" && !refused && (x.in.Mode != None || len(n.Servers) > 0 || len(x.m.Changes) > 0) {
		x.note(Note{AboutUnknown, Warning, "", fmt.Sprintf("the lookup of the TLSA records of %s has failed since %s: "+
			"%s", plain(n.Name), minute(n.Since), n.Err), "no key is changed while that is so; correct dns.server or " +
			"dns.resolver in mailcertd.yaml, or the name server in the message"})
	}
	if !usable {
		return
	}
	switch n.Signed {
	case SignedNo:
		x.note(Note{AboutUnsigned, Warning, "", fmt.Sprintf("the TLSA records of %s have no effect, because they "+
			"are not "+
			"signed", plain(n.Name)), "sign the zone (DNSSEC), and give its DS record to the zone above it, " +
			"usually through the registrar"})
	case SignedBogus:
		x.note(Note{AboutBogus, Error, "", fmt.Sprintf("the TLSA records of %s cannot be validated, so hosts that "+
			"check "+
			"them do not deliver mail to this host: %s", plain(n.Name), n.SignedWhy),
			"sign the zone again, and check that the zone above it has the DS record of one of its keys"})
	case SignedUnknown:
		if n.SignedWhy != "" {
			x.note(Note{AboutUnsigned, Notice, "", fmt.Sprintf("mailcertd cannot find out whether the TLSA records "+
				"of %s are signed: %s", plain(n.Name), n.SignedWhy), "run a resolver on this host that checks " +
				"signatures (DNSSEC), such as local_unbound, and set dns.resolver to 127.0.0.1"})
		}
	}
	x.noteFragile(n, all)
	x.noteForeign(n, all)
	x.noteTTL(n)
}

// noteFragile reports records that the next certificate will not fit.
func (x *decider) noteFragile(n Name, all []Record) {
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
			text = "names a whole certificate, and will not match the next one" + x.nextLeaf(r)
		case r.Usage == usageTA:
			text = "names a CA, and will not match the next certificate" + x.nextLeaf(r) + ", if another CA issues " +
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
		x.note(note)
	}
}

// noteForeign reports records 3 1 1 of keys that no pair of this host has or had, as far as is remembered. It says
// nothing while an installed key is not known.
func (x *decider) noteForeign(n Name, all []Record) {
	known := map[string]bool{}
	for _, p := range x.in.Pairs {
		if p.Present.ID() == "" && x.m.Present[p.Name] == "" && p.Want != First {
			return
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
		return
	}
	what := "1 TLSA record of another key, which matches no key of this host"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d TLSA records of other keys, which match no key of this host", len(lines))
	}
	x.note(Note{AboutForeign, Notice, "", plain(n.Name) + " has " + what + ": " + few(lines), "mailcertd never " +
		"removes records of keys that it does not know; if no other host of this name uses it, remove the record " +
		"from the DNS"})
}
