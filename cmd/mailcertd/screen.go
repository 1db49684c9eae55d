package main

import (
	"os"
	"time"

	"golang.org/x/term"

	"mailcertd/internal/page"
)

// newPage makes an empty page with the width and colours of the place where the output goes.
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

// colourful says whether a terminal gets colours: it does not if its user has set NO_COLOR (https://no-color.org) or if
// the terminal has no colours.
func colourful(noColor, term string) bool {
	return noColor == "" && term != "" && term != "dumb"
}
