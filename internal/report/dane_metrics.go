package report

import (
	"time"

	"mailcertd/internal/dane"
)

// daneMetrics are about the TLSA records; nil: there are none, and nobody publishes any.
func daneMetrics(m *metrics, d *DANE) {
	if d == nil {
		return
	}
	if d.Looked != nil {
		m.family("dane_looked_timestamp_seconds", "When the DNS was last asked for TLSA records.").time(*d.Looked)
	}
	m.family("dane_records_to_add", "TLSA records that no name server has yet and that must be added.").add(
		float64(len(d.Add)))
	m.family("dane_records_to_remove", "TLSA records of keys that are no longer used, or "+
		"of names that are no longer configured.").add(float64(len(d.Remove)))
	if len(d.Names) > 0 {
		f := m.family("dane_signed", "Whether the TLSA records were found to be signed (DNSSEC).")
		for _, n := range d.Names {
			f.truth(n.Signed == dane.SignedYes, "name", n.Name)
		}
	}
	if len(d.Stages) > 0 {
		f := m.family("dane_change_stage", "How far the change of a key is: the value is 1.")
		for _, s := range d.Stages {
			f.add(1, "pair", s.Pair, "stage", string(s.Stage))
		}
	}
	stepMetrics(m, d.Changes)
}

// stepMetrics are about the next steps of the changes of keys. A pair may have several keys whose records go: the first
// of equal steps counts, because a metric has one sample for the same labels.
func stepMetrics(m *metrics, steps []KeyStep) {
	type labels struct {
		pair string
		step dane.StepWord
	}
	first := map[labels]time.Time{}
	var order []labels
	for _, s := range steps {
		l := labels{s.Pair, s.Step}
		if s.Done || s.At == nil {
			continue
		}
		if at, has := first[l]; !has {
			order = append(order, l)
			first[l] = *s.At
		} else if s.At.Before(at) {
			first[l] = *s.At
		}
	}
	if len(order) == 0 {
		return
	}
	f := m.family("dane_step_timestamp_seconds", "When the next steps of a change of a key are at the earliest.")
	for _, l := range order {
		f.time(first[l], "pair", l.pair, "step", string(l.step))
	}
}
