package pickup

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/mta"
	"mailcertd/internal/plan"
)

// Only ECONNREFUSED at every address shows that no program listens. A timeout, an unreachable network and an end of our
// own patience do not.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	shut, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := shut.Addr().String()
	shut.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		probe string
		want  bool
	}{
		"refused":                {t.Context(), refused, true},
		"somebody accepts":       {t.Context(), l.Addr().String(), false},
		"unreachable":            {t.Context(), "255.255.255.255:25", false},
		"the end of our context": {ended, refused, false},
	} {
		teller := New(Options{}, Settings{Probe: c.probe})
		if got := teller.nobodyListens(c.ctx, &View{}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The reason why STARTTLS is not offered is reported as far as it is known.
func TestNotOffered(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		refused, old bool
		want         string
	}{
		"a file that is refused":   {true, true, "sendmail refuses /x (unsafe: Group readable file)"},
		"an older sendmail":        {false, true, "service sendmail restart"},
		"hidden from this address": {false, false, "Srv_Features:127.0.0.1"},
	} {
		var r View
		r.Plan.Facts.NamesOurs, r.Plan.Facts.Offered = true, !c.refused
		if c.refused {
			r.Plan.Facts.Verdict.Complaints = []mta.Complaint{{Path: "/y", Text: "dull"},
				{Path: "/x", Text: "unsafe: Group readable file", Fatal: true}}
		}
		r.Observed.MTA.Status, r.Observed.MTA.Instance.Started = mta.OK, now
		if r.Observed.Certs.Key.Node.Changed = now.Add(-time.Minute); c.old {
			r.Observed.Certs.Key.Node.Changed = now.Add(time.Minute)
		}
		if got := plan.NotOffered(r.Observed, r.Plan.Facts); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
