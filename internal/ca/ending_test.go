package ca

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The overview of the next due certificates leaves out those that a later certificate of the same host has replaced,
// those that were revoked, and those that have expired. It leaves out nothing else.
func TestOverview(t *testing.T) {
	o, d := made(t)
	year := 365 * 24 * time.Hour
	long := strings.Repeat("long.", 20) + "example.org" // it is too long for a CN
	put := func(name string, days int, now time.Time, alt ...string) {
		t.Helper()
		r := request(t)
		r.Name, r.AltNames, r.Days = name, alt, days
		if _, err := Issue(context.Background(), d, o, r, rand.Reader, now); err != nil {
			t.Fatal(err)
		}
	}
	put("a.example.org", 365, start)                    // 01: replaced by 03
	put("b.example.org", 300, start)                    // 02: replaced by 05, which has a second name (hard link)
	put("a.example.org", 365, start.Add(year/2))        // 03
	put("c.example.org", 30, start)                     // 04: expired
	put("b.example.org", 365, start, "www.example.org") // 05
	put("d.example.org", 200, start)                    // 06: revoked, and nothing has replaced it
	put("e.example.org", 365, start.Add(2*time.Hour))   // 07: ends after 08, and is replaced nevertheless
	put("e.example.org", 355, start.Add(24*time.Hour))  // 08
	put("d.example.org", 20, start)                     // 09: expired
	put(long, 310, start)                               // 0A: replaced by 0B
	put(long, 320, start)                               // 0B
	put("f.example.org", 330, start)                    // 0C: 0D has replaced it, and was revoked
	put("f.example.org", 340, start)                    // 0D
	s, err := Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []int64{6, 13} {
		if err := s.Revoke(big.NewInt(serial), "superseded", start); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	now := start.Add(40 * 24 * time.Hour)
	for most, want := range map[int][]string{
		0: nil,
		2: {"0B", "0C"},
		9: {"0B", "0C", "08", "05", "03"},
	} {
		for _, f := range []Filter{{}, {Overview: now}} {
			counts, due, err := Overview(Observe(o.Dir, f), now, most)
			if got := serialsOf(due); err != nil || !slices.Equal(got, want) || counts != (Counts{9, 2, 2}) {
				t.Errorf("%+v, the first %d: %v %v %v, want %v", f, most, got, counts, err, want)
			}
		}
	}
	var soon []Listed
	if err := Ending(Observe(o.Dir, Filter{}), now, now.AddDate(0, 0, -15), now.AddDate(0, 0, 300),
		func(l Listed) { soon = append(soon, l) }); err != nil {
		t.Fatal(err)
	}
	if got := serialsOf(soon); !slices.Equal(got, []string{"04", "0B", "0C"}) { // 09 ended twenty days ago
		t.Errorf("from 15 days ago to 300 days from now: %v", got)
	}
}

func serialsOf(all []Listed) (out []string) {
	for _, l := range all {
		out = append(out, l.Serial)
	}
	return out
}

// The CN of several hosts' certificates is not a host name. Then the certificate files say to which host each belongs.
func TestOverviewSharedCN(t *testing.T) {
	o, d := made(t)
	var rows strings.Builder
	for i, host := range []string{"a.example.org", "b.example.org", "a.example.org"} {
		r := request(t)
		r.Name, r.Days = host, 90+i
		c, err := Issue(context.Background(), d, o, r, rand.Reader, start)
		if err != nil {
			t.Fatal(err)
		}
		e := entryFor(c)
		e.Subject = "/O=Example/CN=Mail server"
		rows.WriteString(e.row() + "\n")
	}
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	_, due, err := Overview(Observe(o.Dir, Filter{}), start, 9)
	if got := serialsOf(due); err != nil || !slices.Equal(got, []string{"02", "03"}) {
		t.Errorf("%v %v", got, err)
	}
}

// With many rows, most of which were replaced, bounded memory gives the same result as holding all rows.
func TestOverviewOfMany(t *testing.T) {
	rnd := mathrand.New(mathrand.NewPCG(3, 4))
	for _, c := range []struct {
		name        string
		rows, hosts int
		ends        func(i int) int // days from the start
	}{
		{"each for another host", 3000, 3000, func(i int) int { return i }},
		{"the last one ends first", 3000, 3000, func(i int) int { return 3000 - i }},
		{"nearly all replaced", 3000, 20, func(i int) int { return 10 + i/2 }},
		{"replaced by what ends sooner", 3000, 2500, func(i int) int { return 2000 - i/2 }},
		{"the first are replaced, and each other one ends before the previous one", 3000, 0, func(i int) int {
			switch {
			case i < 100:
				return 950
			case i < 200:
				return 5000
			}
			return 3000 - i/2
		}},
		{"in no order", 3000, 700, func(int) int { return rnd.IntN(2000) }},
		{"all at once", 2000, 500, func(int) int { return 1000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := made(t)
			var text []byte
			for i := range c.rows {
				status, revoked := Valid, ""
				switch rnd.IntN(10) {
				case 0:
					status, revoked = Revoked, formatTime(start)
				case 1:
					status = Expired
				}
				n := i // the first two hundred rows are for a hundred hosts
				if c.hosts > 0 {
					n = rnd.IntN(c.hosts)
				} else if i < 200 {
					n = i % 100
				}
				host := fmt.Sprintf("H%d.example.org", n)
				if i%2 == 0 {
					host = strings.ToLower(host)
				}
				text = fmt.Appendf(text, "%c\t%s\t%s\t%s\tunknown\t/CN=%s\n", status,
					formatTime(start.AddDate(0, 0, c.ends(i))), revoked, FormatSerial(big.NewInt(int64(i+1))), host)
			}
			if err := os.WriteFile(filepath.Join(o.Dir, indexName), text, 0o644); err != nil {
				t.Fatal(err)
			}
			now := start.AddDate(0, 0, 900)
			obs := Observe(o.Dir, Filter{Overview: now})
			from, to := now.AddDate(0, 0, -400), now.AddDate(0, 0, 800)
			counts, due, err := Overview(obs, now, 50)
			var soon []Listed
			if err := Ending(obs, now, from, to, func(l Listed) { soon = append(soon, l) }); err != nil {
				t.Fatal(err)
			}
			wantCounts, all := heldOverview(string(text), now)
			var wantDue, wantSoon []string
			for _, e := range all {
				if status(&e, now) == "valid" && len(wantDue) < 50 {
					wantDue = append(wantDue, e.serial())
				}
				if !e.Expires.Before(from) && !e.Expires.After(to) {
					wantSoon = append(wantSoon, e.serial())
				}
			}
			if err != nil || counts != wantCounts || !slices.Equal(serialsOf(due), wantDue) {
				t.Errorf("%v, %v: next due %v, want %v, %v", err, counts, serialsOf(due), wantCounts, wantDue)
			}
			if len(wantSoon) == 0 || !slices.Equal(serialsOf(soon), wantSoon) {
				t.Errorf("ending: %d rows, want %d: %.300v\n%.300v", len(soon), len(wantSoon),
					serialsOf(soon), wantSoon)
			}
		})
	}
}

// heldOverview computes the same by holding all rows: the counts, and the rows that are neither revoked nor replaced,
// in the order in which they end.
func heldOverview(text string, now time.Time) (c Counts, out []Entry) {
	rows, _ := parseIndex([]byte(text))
	for i, e := range rows {
		now := func(e Entry) string { return status(&e, now) }
		switch now(e) {
		case "valid":
			c.Valid++
		case "expired":
			c.Expired++
		default:
			c.Revoked++
			continue
		}
		if !slices.ContainsFunc(rows[i+1:], func(l Entry) bool {
			return strings.EqualFold(l.commonName(), e.commonName()) &&
				(now(l) == "valid" || now(l) == "expired" && now(e) == "expired")
		}) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return a.Expires.Compare(b.Expires) })
	return c, out
}
