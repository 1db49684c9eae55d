package main

import (
	"os"
	"time"

	"golang.org/x/term"

	"mailcertd/internal/page"
)

// newPage is an empty page for where the output goes.
func (c *console) newPage(now time.Time) *page.Page {
	p := &page.Page{Width: page.WithoutTTY, Zone: time.Local, Now: now}
	f, ok := c.outFile()
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		p.Width = min(max(w, page.Narrowest), page.Widest)
	}
	p.Colour = colourful(os.Getenv("NO_COLOR"), os.Getenv("TERM"))
	return p
}

// colourful says whether a terminal gets colours: not if its user says no (https://no-color.org), nor if the terminal
// has none.
func colourful(noColor, term string) bool {
	return noColor == "" && term != "" && term != "dumb"
}
