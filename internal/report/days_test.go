package report

import (
	"testing"
	"time"
)

// Days left are rounded down, after the end too.
func TestWholeDays(t *testing.T) {
	today := time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ hours, want int }{{25, 1}, {24, 1}, {23, 0}, {0, 0}, {-1, -1}, {-24, -1}, {-25, -2}} {
		if got := WholeDays(today.Add(time.Duration(c.hours)*time.Hour), today); got != c.want {
			t.Errorf("%d hours are %d days, want %d", c.hours, got, c.want)
		}
	}
}

// Times in JSON are full seconds, also those that are computed from a part of a lifetime.
func TestFullSeconds(t *testing.T) {
	at := time.Date(2026, 11, 23, 3, 4, 5, 678, time.UTC)
	if got := moment(at); got.Format(time.RFC3339Nano) != "2026-11-23T03:04:05Z" {
		t.Errorf("got %s", got.Format(time.RFC3339Nano))
	}
}
