package main

import (
	"bytes"
	"testing"
	"time"
)

// Only a terminal gets colours, and only if its user wants them. A file or a pipe gets none.
func TestColourful(t *testing.T) {
	for _, c := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"0", "xterm", false}, {"", "dumb", false}, {"", "", false}} {
		if got := colourful(c.noColor, c.term); got != c.want {
			t.Errorf("NO_COLOR=%q TERM=%q: %v", c.noColor, c.term, got)
		}
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	var out bytes.Buffer
	if p := newApp(nil, &out, &out).newPage(time.Time{}); p.Colour || p.Width != 80 {
		t.Errorf("no terminal: colour %v, %d columns", p.Colour, p.Width)
	}
}
