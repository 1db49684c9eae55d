package plan_test

import (
	"testing"
	"time"

	"mailcertd/internal/plan"
)

// A warning that is configured for 30 days before the end comes in the last quarter of any lifetime, and never before
// the time at which the certificate should have been renewed.
func TestWarnFrom(t *testing.T) {
	const day = 24 * time.Hour
	from := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		life, before time.Duration
		want         time.Duration // the first warning, counted back from the end
	}{
		{"a day", day, 30 * day, 6 * time.Hour},
		{"six days", 6 * day, 30 * day, 36 * time.Hour},
		{"six days, a day before", 6 * day, day, day},
		{"six days, three days before", 6 * day, 3 * day, 36 * time.Hour},
		{"45 days", 45 * day, 30 * day, 45 * day / 4},
		{"90 days", 90 * day, 30 * day, 90 * day / 4},
		{"90 days, a week before", 90 * day, 7 * day, 7 * day},
		{"a year", 365 * day, 30 * day, 30 * day},
		{"ten years", 3650 * day, 30 * day, 30 * day},
		{"ten years, and a person who looks far ahead", 3650 * day, 3650 * day, 3650 * day / 4},
		{"none", 0, 30 * day, 30 * day},
		{"an end before the beginning", -day, 30 * day, 30 * day},
	} {
		end := from.Add(c.life)
		got := plan.WarnFrom(from, end, c.before)
		if end.Sub(got) != c.want {
			t.Errorf("%s: the first warning comes %v before the end, want %v", c.name, end.Sub(got), c.want)
		}
		if c.life > 0 && got.Before(from.Add(c.life*2/3)) {
			t.Errorf("%s: the warning comes before the renewal is due", c.name)
		}
	}
	if got := plan.WarnFrom(time.Time{}, from, 30*day); !got.Equal(from.Add(-30 * day)) {
		t.Errorf("an unknown beginning: %v", got)
	}
}
