package dane

import "fmt"

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
