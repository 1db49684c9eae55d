package rcd

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// The log repeats the same error once an hour, has another error at once, and says when it is solved. That holds after
// the clock was set back, too.
func TestTrouble(t *testing.T) {
	var b bytes.Buffer
	log := NewLogger(LogOptions{Level: "info", Target: "stderr", Facility: "mail", Stderr: &b})
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	full, denied := errors.New("no space left on device"), errors.New("permission denied")
	var w trouble
	for i, c := range []struct {
		err  error
		at   time.Duration
		says string
	}{
		{nil, 0, ""},
		{full, time.Minute, "no space"},
		{full, 2 * time.Minute, ""},
		{full, 60 * time.Minute, ""},
		{full, 61 * time.Minute, "no space"},
		{full, 62 * time.Minute, ""},
		{denied, 63 * time.Minute, "denied"},
		{full, 64 * time.Minute, "no space"},
		{full, -time.Hour, "no space"},
		{nil, 65 * time.Minute, "is solved"},
		{nil, 66 * time.Minute, ""},
		{full, 67 * time.Minute, "no space"},
	} {
		b.Reset()
		w.tell(log, c.err, now.Add(c.at))
		if got := b.String(); c.says == "" && got != "" || !strings.Contains(got, c.says) {
			t.Errorf("%d: %q, want %q", i, got, c.says)
		}
	}
}
