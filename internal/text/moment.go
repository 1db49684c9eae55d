package text

import (
	"regexp"
	"sync"
	"time"
)

// momentForm is how a message writes a time.
const momentForm = "2006-01-02 15:04 UTC"

// moments matches it. It is compiled at first use, so that commands without a page start faster.
var moments = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC`)
})

// Moment returns a time as all messages have it, in UTC and to the minute. For a person, EachMoment finds it again.
func Moment(t time.Time) string { return t.UTC().Format(momentForm) }

// EachMoment returns s with each time that Moment has written as another text.
func EachMoment(s string, as func(time.Time) string) string {
	return moments().ReplaceAllStringFunc(s, func(m string) string {
		t, err := time.Parse(momentForm, m)
		if err != nil { // it only looks like a time
			return m
		}
		return as(t)
	})
}
