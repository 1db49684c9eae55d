package dane

import "time"

// nextLeaf says when there will be another certificate than the one that the record names or, where it names a CA, when
// the first of the pairs gets another one: until then the owner can act.
func (x *decider) nextLeaf(r Record) string {
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
