package dns

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/dns"
	"mailcertd/test/bed"
)

// BIND gives all records of a name the time to live of an amendment, and keeps it where somebody else has one there.
func retimed(t *testing.T, w *world) {
	c, zone, name := w.client(t, "mail", nil), dns.Zone{Name: "example.test."}, "_26._tcp.mail.example.test."
	rec := func(digit string, ttl time.Duration) dns.Record {
		return dns.TLSA(name, dns.Association{Usage: 3, Selector: 1, Matching: 1, Data: strings.Repeat(digit, 64)}, ttl)
	}
	ttls := func() (out []time.Duration) {
		t.Helper()
		views, err := w.client(t, "", nil).Lookup(within(t, bed.Patience), zone, name, dns.TypeTLSA)
		ok(t, err)
		for _, v := range views {
			if !strings.HasPrefix(v.Addr, primary+":") {
				continue
			}
			for _, r := range v.Records {
				out = append(out, r.TTL())
			}
		}
		return out
	}
	old, present, foreign := rec("a", time.Hour), rec("b", time.Hour), rec("c", time.Hour)
	for _, r := range []dns.Record{old, present} {
		ok(t, c.Add(within(t, bed.Patience), zone, r))
	}
	minute := []dns.Record{rec("a", time.Minute), rec("b", time.Minute)}
	to := dns.Amendment{Must: minute[1:], Retime: minute}
	changed, err := c.Amend(within(t, bed.Patience), zone, name, dns.TypeTLSA, to)
	if got := ttls(); err != nil || !changed || !slices.Equal(got, []time.Duration{time.Minute, time.Minute}) {
		t.Errorf("the records have %v; changed: %v, %v", got, changed, err)
	}
	changed, err = c.Amend(within(t, bed.Patience), zone, name, dns.TypeTLSA, to)
	if err != nil || changed {
		t.Errorf("a second time: %v, %v", changed, err)
	}
	ok(t, c.Add(within(t, bed.Patience), zone, foreign))
	changed, err = c.Amend(within(t, bed.Patience), zone, name, dns.TypeTLSA, to)
	if got := ttls(); err != nil || changed || slices.ContainsFunc(got, func(d time.Duration) bool {
		return d != time.Hour
	}) {
		t.Errorf("with a record of others: %v; changed: %v, %v", got, changed, err)
	}
	for _, r := range []dns.Record{old, present, foreign} {
		ok(t, c.Remove(within(t, bed.Patience), zone, r))
	}
}
