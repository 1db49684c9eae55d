package main

import (
	"fmt"
	"strings"
)

// roomForNames is the least that the names of a certificate get beside its
// serial number; where less is left they stand below it.
const roomForNames = 24

// listPage draws every certificate of the CA: nothing is left out but names
// beyond the first lines of a certificate that has many.
func listPage(rep listReport, p *page) {
	if len(rep.Certificates) == 0 {
		p.hanging(noInk, "", "", fmt.Sprintf("the CA in %s has issued nothing yet", rep.Dir))
		return
	}
	head := [4]string{"SERIAL", "STATUS", "ENDS", "DAYS"}
	rows := make([][4]string, 0, len(rep.Certificates)+1)
	rows = append(rows, head)
	for _, c := range rep.Certificates {
		rows = append(rows, [4]string{c.Serial, c.status(), p.day(c.Expires), c.days()})
	}
	var widths [4]int
	left := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], columns(clean(r[i])))
		}
		left += widths[i] + 2
	}
	beside := p.width-left >= roomForNames
	for i, r := range rows {
		line := ""
		for j, cell := range r {
			cell = clean(cell)
			line += cell + strings.Repeat(" ", widths[j]-columns(cell)+2)
		}
		names, with := "NAMES", bold
		if i > 0 {
			c := rep.Certificates[i-1]
			with = c.ink()
			room := p.width - left
			if !beside {
				room = p.width - 4
			}
			names = someNames(c.Names, room, nameLines)
		}
		switch {
		case beside:
			p.beside(line, names, with)
		case i == 0:
			p.split(strings.TrimRight(line, " "), with)
		default:
			p.split(strings.TrimRight(line, " "), with)
			p.hanging(noInk, "    ", "    ", names)
		}
	}
}

// beside is a line with a text in its last column.
func (p *page) beside(line, text string, with ink) {
	for i, l := range wrap(text, p.width-columns(line)) {
		if i > 0 {
			line = strings.Repeat(" ", columns(line))
		}
		p.lines = append(p.lines, strings.TrimRight(p.paint(line, with)+l, " "))
	}
}

// split is a line that may be too long, in pieces.
func (p *page) split(line string, with ink) {
	for i, l := range wrap(line, p.width-2) {
		if i > 0 {
			l = "  " + l
		}
		p.lines = append(p.lines, p.paint(l, with))
	}
}

func (c listed) status() string {
	if c.Revoked != nil && c.Reason != "" {
		return c.Status + " (" + c.Reason + ")"
	}
	return c.Status
}

func (c listed) days() string {
	if c.Revoked != nil {
		return "-"
	}
	return fmt.Sprint(c.Days)
}

func (c listed) ink() ink {
	switch {
	case c.Status != "valid":
		return noInk
	case c.Days < int(soon/day) && !c.Enrolled:
		return yellow
	}
	return noInk
}
