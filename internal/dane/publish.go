package dane

import (
	"slices"
	"time"
)

// must are the records that every name must have. Where nobody publishes for this host, that is the record of the next
// key alone.
func (x *decider) must() (out []Line) {
	if !x.d.Governed || x.gone() {
		return nil
	}
	add := func(pair, key string) {
		if key != "" && !slices.ContainsFunc(out, func(l Line) bool { return l.Record.Data == key }) {
			out = append(out, Line{Record: RecordOf(key, x.ttl()), Pair: pair})
		}
	}
	if x.in.Mode != None {
		for _, p := range x.in.Pairs {
			add(p.Name, p.Present.ID())
		}
	}
	for _, p := range x.in.Pairs {
		add(p.Name, x.m.Changes[p.Name].Next)
	}
	return out
}

// records works out what each name must have and has too much.
func (x *decider) records() {
	must := x.must()
	settled := x.in.Served // every server has all that must be there, and sendmail uses the installed keys
	for _, l := range must {
		settled = settled && len(x.waits(l.Record.Data)) == 0
	}
	for _, name := range x.in.Names {
		n, _ := x.m.name(name)
		if !n.known() { // an update is made only after a look, which says whether the name has records of others
			continue
		}
		if len(n.Records()) == 0 && !x.in.Served { // the first records, while sendmail may still use another key
			continue
		}
		e := Edit{Name: name}
		lacking := false
		for _, l := range must {
			e.Must = append(e.Must, l.Record)
			missing, _ := n.lacks(l.Record)
			lacking = lacking || len(missing) > 0
			if !n.Has(l.Record) {
				x.d.Add = append(x.d.Add, Line{name, l.Record, l.Pair})
			}
		}
		if n.wild() && lacking { // they do not count for a name with records of its own, so it gets all of them
			x.addAll(n, must)
		}
		for _, o := range x.m.Old {
			r := RecordOf(o.Key, x.ttl())
			if used(must, o.Key) || !settled || x.now.Before(x.goes(o)) || !n.Has(r) {
				continue
			}
			e.Drop = append(e.Drop, r)
			x.d.Remove = append(x.d.Remove, Line{name, r, o.Pair})
		}
		e.Retime = x.retimes(n)
		if x.in.Mode == Update && (lacking || len(e.Drop)+len(e.Retime) > 0) {
			x.d.Edits = append(x.d.Edits, e)
		}
	}
}

// addAll adds all records that a name must have, and those of the installed keys, whoever has published them.
func (x *decider) addAll(n Name, must []Line) {
	all := slices.Clone(must)
	for _, p := range x.in.Pairs {
		if id := p.Present.ID(); id != "" && !used(all, id) {
			all = append(all, Line{Record: RecordOf(id, x.ttl()), Pair: p.Name})
		}
	}
	for _, l := range all {
		if l.Name = n.Name; !slices.Contains(x.d.Add, l) {
			x.d.Add = append(x.d.Add, l)
		}
	}
}

// goes is when the record of an old key may be removed: a time to live after sendmail was seen to use its successor.
func (x *decider) goes(o Old) time.Time {
	since := o.Since
	if x.in.ServedSince.After(since) {
		since = x.in.ServedSince
	}
	return since.Add(x.longest())
}

func used(must []Line, key string) bool {
	return slices.ContainsFunc(must, func(l Line) bool { return l.Record.Data == key })
}

// forget forgets old keys whose records are gone. A look from before may have missed a record that was published just
// before mailcertd ended.
func (x *decider) forget() {
	if !x.answered() {
		return
	}
	x.m.Old = slices.DeleteFunc(x.m.Old, func(o Old) bool {
		return !x.looked().Before(x.goes(o)) && !slices.ContainsFunc(x.m.Names, func(n Name) bool {
			return n.Has(RecordOf(o.Key, 0))
		})
	})
}

// former finds records of this host's keys at names that are no longer configured. mailcertd changes configured names
// alone, so a person is told to remove them. A name without such a record is not looked at again.
func (x *decider) former() {
	x.d.Names = slices.Clone(x.in.Names)
	for _, n := range x.m.Names {
		ours := x.ours(n)
		if slices.Contains(x.in.Names, n.Name) || len(ours) == 0 {
			continue
		}
		x.d.Names = append(x.d.Names, n.Name)
		if len(x.in.Names) > 0 { // otherwise the name of this host is not known, perhaps for a moment
			x.d.Former = append(x.d.Former, ours...)
		}
	}
}

// retimes are the records of a name, in the DNS now, that get the time to live of the configuration; nil: it is right,
// or it is not for mailcertd to change. The time to live belongs to all records of a name (RFC 2181, section 5.2):
// where others have records too, they may rely on theirs, and two programs with two settings would change it in turns.
func (x *decider) retimes(n Name) (out []Record) {
	ours := x.ours(n)
	if x.in.Mode != Update || x.otherTTL(n) == 0 || len(ours) < len(n.Records()) {
		return nil
	}
	for _, l := range ours {
		out = append(out, RecordOf(l.Record.Data, x.in.TTL))
	}
	return out
}
