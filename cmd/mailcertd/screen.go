package main

import (
	"os"
	"time"

	"golang.org/x/term"
)

// Widths of pages, in columns.
const (
	narrowest  = 60
	widest     = 100
	withoutTTY = 80 // files, pipes, mails
)

// newPage is an empty page for where the output goes.
func (a *app) newPage(now time.Time) *page {
	p := &page{width: withoutTTY, zone: time.Local, now: now}
	f, ok := a.outFile()
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		p.width = min(max(w, narrowest), widest)
	}
	p.colour = colourful(os.Getenv("NO_COLOR"), os.Getenv("TERM"))
	return p
}

// colourful says whether a terminal gets colours: not where its user says no
// (https://no-color.org), nor where it is none that has any.
func colourful(noColor, term string) bool {
	return noColor == "" && term != "" && term != "dumb"
}
