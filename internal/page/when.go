package page

import (
	"fmt"
	"time"

	"mailcertd/internal/report"
)

// spell is a length of time, rounded down, in the largest unit that gives a useful number.
func spell(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 2*report.Day:
		return count(int(d/time.Hour), "hour")
	case d <= 90*report.Day:
		return count(int(d/report.Day), "day")
	case d < 2*365*report.Day:
		return count(int(d*12/(365*report.Day)), "month")
	}
	return count(int(d/(365*report.Day)), "year")
}

// relative says when t is, seen from now.
func relative(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d <= -time.Minute:
		return spell(-d) + " ago"
	case d < time.Minute:
		return "now"
	default:
		return "in " + spell(d)
	}
}

// left is the remaining part of a life.
func left(from, to, now time.Time) string {
	switch {
	case !now.Before(to):
		return "expired " + spell(now.Sub(to)) + " ago"
	case now.Before(from):
		return "begins " + relative(from, now)
	}
	return spell(to.Sub(now)) + " left"
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
