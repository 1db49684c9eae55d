package report

import (
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dane"
)

// The metrics name steps and stages by words that do not change, and no two samples have the same labels: node_exporter
// would refuse the whole file.
func TestDANEMetrics(t *testing.T) {
	at := func(hour int) *time.Time {
		m := time.Date(2026, 6, 1, hour, 0, 0, 0, time.UTC)
		return &m
	}
	var m metrics
	daneMetrics(&m, &DANE{Stages: []KeyStage{{"host", dane.Waiting}, {"host-ecdsa", dane.Settling}}, Changes: []KeyStep{
		{"host", dane.StepChanged, "the key was changed", at(1), true},
		{"host", dane.StepRemoved, "the TLSA record of the old key is removed", at(9), false},
		{"host", dane.StepGivenUp, "a next key was given up", at(2), true},
		{"host", dane.StepRemoved, "the TLSA record of the old key is removed", at(8), false},
		{"host", dane.StepMayChange, "the key may be changed", at(10), false},
		{"host", dane.StepSeen, "every name server has its TLSA record", nil, false},
		{"host-ecdsa", dane.StepRemoved, "the TLSA record of the old key is removed", at(11), false},
	}})
	var got []string
	for line := range strings.Lines(m.b.String()) {
		if strings.Contains(line, "{") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := `mailcertd_dane_change_stage{pair="host",stage="waiting"} 1
mailcertd_dane_change_stage{pair="host-ecdsa",stage="settling"} 1
mailcertd_dane_step_timestamp_seconds{pair="host",step="removed"} 1780300800
mailcertd_dane_step_timestamp_seconds{pair="host",step="may_change"} 1780308000
mailcertd_dane_step_timestamp_seconds{pair="host-ecdsa",step="removed"} 1780311600`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
