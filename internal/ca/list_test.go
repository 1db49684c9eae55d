package ca

import (
	"context"
	"crypto/rand"
	"math/big"
	"slices"
	"testing"
	"time"
)

// What is due next leaves out what a later certificate for the same names has
// replaced, and what was revoked or has expired; and nothing else.
func TestNextDue(t *testing.T) {
	o, d := made(t)
	year := 365 * 24 * time.Hour
	put := func(name string, days int, now time.Time, alt ...string) {
		t.Helper()
		r := request(t)
		r.Name, r.AltNames, r.Days = name, alt, days
		if _, err := Issue(context.Background(), d, o, r, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
	}
	put("a.example.org", 365, start)                    // 01: replaced by 03
	put("b.example.org", 300, start)                    // 02: 05 has its subject, for other names
	put("a.example.org", 365, start.Add(year/2))        // 03
	put("c.example.org", 30, start)                     // 04: expired
	put("b.example.org", 365, start, "www.example.org") // 05
	put("d.example.org", 200, start)                    // 06: revoked after it was replaced by nobody
	put("e.example.org", 365, start.Add(2*time.Hour))   // 07: ends after 08, replaced all the same
	put("e.example.org", 355, start.Add(24*time.Hour))  // 08
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(big.NewInt(6), "superseded", start); err != nil {
		t.Error(err)
	}
	s.Close()
	for most, want := range map[int][]string{
		0: nil,
		2: {"02", "08"},
		9: {"02", "08", "05", "03"},
	} {
		var got []string
		for _, l := range NextDue(Observe(o.Dir, Filter{Name: "."}), start.Add(40*24*time.Hour), most) {
			got = append(got, l.Serial)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the first %d: %v, want %v", most, got, want)
		}
	}
}
