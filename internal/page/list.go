package page

import (
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/report"
)

// roomForNames is the least width of the names of a certificate beside its serial number; with less room they go below
// it.
const roomForNames = 24

// List draws every certificate of the CA, and only shortens the names of one that has many.
func List(rep report.List, p *Page) {
	if len(rep.Certificates) == 0 {
		p.hanging(noInk, "", "", fmt.Sprintf("the CA in %s has issued nothing yet", rep.Dir))
		return
	}
	head := [4]string{"SERIAL", "STATUS", "ENDS", "DAYS"}
	rows := make([][4]string, 0, len(rep.Certificates)+1)
	rows = append(rows, head)
	for _, c := range rep.Certificates {
		rows = append(rows, [4]string{c.Serial, listedStatus(c), p.day(c.Expires), listedDays(c)})
	}
	var widths [4]int
	left := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], columns(Clean(r[i])))
		}
		left += widths[i] + 2
	}
	// If the only installed pair is the host's own, its certificate needs no mark.
	several := slices.ContainsFunc(rep.Certificates,
		func(c report.Listed) bool { return c.Pair != "" && c.Pair != certdir.Host.Name })
	beside := p.Width-left >= roomForNames
	for i, r := range rows {
		var line strings.Builder
		for j, cell := range r {
			cell = Clean(cell)
			line.WriteString(cell + strings.Repeat(" ", widths[j]-columns(cell)+2))
		}
		names, with := "NAMES", bold
		if i > 0 {
			c := rep.Certificates[i-1]
			with = listedInk(c)
			room := p.Width - left
			if !beside {
				room = p.Width - 4
			}
			names = someNames(c.Names, room, nameLines)
			if c.Pair != "" && several {
				names += "; installed here as " + c.Pair
			}
		}
		switch {
		case beside:
			p.beside(line.String(), names, with)
		case i == 0:
			p.split(strings.TrimRight(line.String(), " "), with)
		default:
			p.split(strings.TrimRight(line.String(), " "), with)
			p.hanging(noInk, "    ", "    ", names)
		}
	}
}

// beside draws a line with a text in its last column.
func (p *Page) beside(line, text string, with ink) {
	for i, l := range Wrap(text, p.Width-columns(line)) {
		if i > 0 {
			line = strings.Repeat(" ", columns(line))
		}
		p.lines = append(p.lines, strings.TrimRight(p.paint(line, with)+l, " "))
	}
}

// split draws a line in several pieces if it is too long.
func (p *Page) split(line string, with ink) {
	for i, l := range Wrap(line, p.Width-2) {
		if i > 0 {
			l = "  " + l
		}
		p.lines = append(p.lines, p.paint(l, with))
	}
}

func listedStatus(c report.Listed) string {
	if c.Revoked != nil && c.Reason != "" {
		return c.Status + " (" + c.Reason + ")"
	}
	return c.Status
}

func listedDays(c report.Listed) string {
	if c.Revoked != nil {
		return "-"
	}
	return fmt.Sprint(c.Days)
}

func listedInk(c report.Listed) ink {
	switch {
	case c.Status != "valid":
		return noInk
	case c.Soon && !c.Enrolled:
		return yellow
	}
	return noInk
}
