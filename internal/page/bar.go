package page

import (
	"fmt"
	"strings"
	"time"

	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

// legend explains bars and times, once for a page.
func (p *Page) legend() {
	p.row("bars", "= past, | today, ^ renewal; times are in %s", p.Now.In(p.Zone).Format("MST"))
}

// bar draws a life as [====|-----^---] in that many columns: the past, today, and the renewal (due zero: none). It is
// ASCII, because root's locale is often C and not every console has other characters. Before from nothing is past,
// after to everything is.
func bar(from, to, due, now time.Time, columns int) string {
	cells := max(columns-2, 1)
	at := func(t time.Time) int {
		life := to.Sub(from)
		if life <= 0 {
			return cells
		}
		share := float64(t.Sub(from)) / float64(life)
		return int(min(max(share, -1), 2) * float64(cells))
	}
	b := []byte(strings.Repeat("-", cells))
	today := at(now)
	switch {
	case !now.Before(to):
		today = cells
	case now.Before(from):
		today = -1
	}
	for i := 0; i < min(today, cells); i++ {
		b[i] = '='
	}
	if i := at(due); !due.IsZero() && i >= 0 && i < cells {
		b[i] = '^'
	}
	if today >= 0 && today < cells {
		b[today] = '|'
	}
	return "[" + string(b) + "]"
}

// life is a row with the bar of a certificate or list and its dates below. due is when its successor comes and verb its
// word ("renewed"); nil: mailcertd does not replace it.
func (p *Page) life(label string, from, to time.Time, due *time.Time, verb string) {
	p.bars = true
	with := green
	mark := time.Time{}
	dates := p.day(from) + " to " + p.day(to)
	if due != nil {
		mark = *due
		if p.Now.Before(mark) {
			dates += fmt.Sprintf("; %s %s, on %s", verb, relative(mark, p.Now), p.day(mark))
		} else {
			with = yellow
			dates += fmt.Sprintf("; renewal due since %s", p.day(mark))
		}
	}
	text := left(from, to, p.Now)
	switch {
	case !p.Now.Before(to):
		with = red
	case p.Now.Before(from), plan.EndsWithin(from, to, report.Soon, p.Now):
		with = yellow
	}
	room := p.Width - labelWidth
	line := bar(from, to, mark, p.Now, min(room-leftColumns, 50))
	p.labelled(noInk, label, p.paint(line+"  "+text, with), true)
	for _, l := range Wrap(dates, room) {
		p.labelled(noInk, "", l, true)
	}
}

// leftColumns is the width of the remaining time, with the gap before it.
const leftColumns = 24
