package text

import (
	"testing"
	"time"
)

// What Moment writes, EachMoment finds.
func TestEachMoment(t *testing.T) {
	at := time.Date(2030, 2, 3, 4, 5, 6, 7, time.FixedZone("X", 3600))
	s := "between " + Moment(at) + " and " + Moment(at.Add(time.Hour)) + ", and 2030-99-01 00:00 UTC is none"
	var found []time.Time
	got := EachMoment(s, func(t time.Time) string {
		found = append(found, t)
		return "T"
	})
	want := "between T and T, and 2030-99-01 00:00 UTC is none"
	if got != want || len(found) != 2 || !found[0].Equal(at.Truncate(time.Minute)) {
		t.Errorf("%q, %v", got, found)
	}
}
