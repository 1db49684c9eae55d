package page

import (
	"fmt"
	"strings"

	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/report"
)

// daneRows describe the TLSA records in the DNS, and how far the changes of keys are.
func daneRows(d *report.DANE, p *Page) {
	if d == nil {
		return
	}
	who := map[string]string{config.PublishNone: "mailcertd publishes no records",
		config.PublishManual: "a person publishes the records", config.PublishUpdate: "mailcertd publishes the records"}
	text := who[d.Publish]
	if d.Looked != nil {
		text += "; mailcertd last looked them up on " + p.minute(*d.Looked) + ", " + relative(*d.Looked, p.Now)
	} else {
		text += "; mailcertd has not asked the DNS yet"
	}
	p.row("DANE", "%s", text)
	for _, n := range d.Names {
		nameRow(n, p)
	}
	pair := ""
	for i, s := range d.Changes {
		label := ""
		if i == 0 || s.Pair != pair {
			label = "  " + s.Pair
		}
		pair = s.Pair
		switch {
		case s.At == nil:
			p.row(label, "%s: not yet", s.What)
		case s.Done:
			p.row(label, "%s: %s", s.What, p.minute(*s.At))
		default:
			p.row(label, "%s: not before %s", s.What, p.minute(*s.At))
		}
	}
	adds := "  to add"
	if d.Publish == config.PublishUpdate { // nothing for a person
		adds = "  will add"
	}
	for _, all := range []struct {
		label string
		lines []string
	}{{adds, d.Add}, {"  to remove", d.Remove}} {
		label := all.label
		for _, line := range all.lines {
			record, hash := lastWord(line) // the record alone fits on a line of 80
			p.row(label, "%s", record)
			p.row("", "%s", hash)
			label = ""
		}
	}
	if d.Error != "" {
		p.inked(noInk, red, "", "not published: %s", d.Error)
	}
}

func nameRow(n report.DANEName, p *Page) {
	signed := map[dane.Signed]string{dane.SignedYes: "signed", dane.SignedNo: "not signed",
		dane.SignedBogus: "with wrong signatures", dane.SignedUnknown: "signatures not checked"}
	kinds := map[string]int{}
	var order []string
	for _, r := range n.Records {
		kind, _ := lastWord(r)
		if kinds[kind]++; kinds[kind] == 1 {
			order = append(order, kind)
		}
	}
	var have []string
	for _, k := range order {
		count := "1 record"
		if kinds[k] > 1 {
			count = fmt.Sprintf("%d records", kinds[k])
		}
		have = append(have, count+" "+k)
	}
	switch name := strings.TrimSuffix(n.Name, "."); {
	case n.Error != "":
		p.inked(noInk, yellow, "", "%s: %s", name, n.Error)
	case len(have) == 0:
		p.row("", "%s: no record", name)
	default:
		p.row("", "%s: %s, %s", name, strings.Join(have, ", "), signed[n.Signed])
	}
	for _, s := range n.Silent {
		p.inked(noInk, yellow, "", "%s", s)
	}
}
