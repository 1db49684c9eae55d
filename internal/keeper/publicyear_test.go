package keeper

import (
	"crypto/x509"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// publicYear is a host whose certificates come from a public CA, over a simulated year.
type publicYear struct {
	*site
	by   *simulatedCA
	real time.Time     // the right time
	off  time.Duration // what the clock of the host says, less the right time
	down bool          // the host is off

	looks, restarts int
	perDay          map[string]int    // looks, by the day
	last            *x509.Certificate // the leaf after the last look; nil: none of the public CA
	orders          int               // after the last look
	since           time.Time         // since when the CA answers, and the clock is right and believed; zero: not now
	doubted         time.Time         // since when a clock that is right is doubted; zero: it is not
}

// The longest times that a host may take while the CA answers and the clock is right: until a renewal that is due is
// installed, until an expired certificate is replaced, and until the clock is believed.
const (
	renewsIn   = 90 * time.Minute
	recoversIn = 65 * time.Minute
	believesIn = 25 * time.Hour
)

var everyLife = flag.Bool("every-life", false, "TestPublicYear simulates all lives; each takes half a minute")

// A host gets public certificates for a year, with CAs that issue for 6, 45 and 365 days, that say when to renew or do
// not; while the CA is away for up to three weeks, answers to orders are lost, the clock is wrong for some hours, and
// the daemon ends and starts again.
func TestPublicYear(t *testing.T) {
	for i, c := range []struct {
		life    time.Duration
		windows bool
		seed    uint64
	}{{6 * aDay, true, 2}, {6 * aDay, false, 1}, {45 * aDay, true, 3}, {365 * aDay, false, 4}, {365 * aDay, true, 5}} {
		if i > 0 && !*everyLife {
			break
		}
		t.Run(fmt.Sprintf("%d days, windows %v", c.life/aDay, c.windows), func(t *testing.T) {
			t.Parallel()
			publicYearOf(t, c.life, c.windows, c.seed)
		})
	}
}

// event is something that happens to the host or to the CA.
type event struct {
	at   time.Time
	what string
	do   func()
}

func publicYearOf(t *testing.T, life time.Duration, windows bool, seed uint64) {
	t.Helper()
	y := &publicYear{perDay: map[string]int{}}
	y.site, y.by = publicSite(t, life)
	y.real = y.now
	y.by.windows, y.by.again = windows, min(life/24, aDay)
	begin := y.real
	y.since = begin
	events := y.events(rand.New(rand.NewPCG(seed, uint64(life))), begin)
	end := begin.AddDate(1, 0, 0)
	said := []string{"begin"}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d: %s\n%s", seed, strings.Join(said, "\n"), strings.Join(y.log[max(0, len(y.log)-40):], "\n"))
		}
	}()
	for y.real.Before(end) && !t.Failed() {
		for len(events) > 0 && !events[0].at.After(y.real) {
			said = append(said, y.real.Format(time.DateTime)+" "+events[0].what)
			events[0].do()
			events = events[1:]
		}
		wait := 6 * time.Hour // the daemon waits an hour at most; this is the harder test
		if !y.down {
			if next := y.look(); !next.IsZero() {
				wait = min(wait, next.Sub(y.now))
			}
		}
		if len(events) > 0 {
			wait = min(wait, events[0].at.Sub(y.real))
		}
		y.pass(max(wait, time.Second))
	}
	y.sum()
}

// events returns what happens in the year, in the order of time. Two of them never overlap.
func (y *publicYear) events(r *rand.Rand, at time.Time) (out []event) {
	some := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	add := func(d time.Duration, what string, do func()) {
		at = at.Add(d)
		out = append(out, event{at, what, do})
	}
	clock := func(what string, off func() time.Duration, lasts time.Duration, boot bool) {
		add(0, "the clock is wrong: "+what, func() {
			if y.off = off(); boot {
				y.restart()
			}
		})
		add(lasts, "the clock is right", func() { y.off = 0 })
	}
	constantly := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	for end := at.AddDate(1, 0, 0); ; {
		if add(some(aDay, 12*aDay), "nothing", func() {}); at.After(end) {
			return out
		}
		switch r.IntN(7) {
		case 0:
			add(0, "the CA is away", func() { y.by.set(func() { y.by.away = true }) })
			add(some(time.Hour, 21*aDay), "the CA is back", func() { y.by.set(func() { y.by.away = false }) })
		case 1:
			add(0, "an answer will be lost", func() { y.by.set(func() { y.by.loses = 1 + r.IntN(3) }) })
		case 2:
			clock("a day back", constantly(-aDay), some(time.Minute, 20*time.Hour), r.IntN(2) == 0)
		case 3:
			clock("40 days ahead", constantly(40*aDay), time.Hour, r.IntN(2) == 0)
		case 4:
			clock("1970", func() time.Duration { return time.Unix(100, 0).Sub(y.real) }, some(time.Minute, 2*time.Hour),
				true)
		case 5:
			add(0, "the daemon starts again", y.restart)
		case 6:
			add(0, "the host is off", func() { y.down = true })
			add(some(time.Hour, 4*aDay), "the host starts", func() {
				y.down, y.since = false, time.Time{}
				y.restart()
			})
		}
	}
}

// restart ends the daemon, and starts it after rc.d's ensure.
func (y *publicYear) restart() {
	y.restarts++
	y.now = y.real.Add(y.off)
	y.Keeper = New(y.o)
	y.settle(plan.Wish{})
	y.Keeper = New(y.o)
}

// pass lets the time go on.
func (y *publicYear) pass(d time.Duration) {
	y.real = y.real.Add(d)
	y.by.at(y.real)
	y.now = y.real.Add(y.off)
}

// look lets the daemon look, and checks what must hold.
func (y *publicYear) look() time.Time {
	y.t.Helper()
	next, asked := y.looked()
	y.check(asked)
	return next
}

// looked lets the daemon look, and again after each answer. It returns the number of answers.
func (y *publicYear) looked() (next time.Time, asked int) {
	y.t.Helper()
	for n := 0; ; n++ {
		y.by.at(y.real)
		y.now = y.real.Add(y.off)
		next, err := y.Look(y.t.Context(), "time")
		if err != nil {
			y.t.Fatalf("%s: %v", y.real, err)
		}
		y.looks++
		y.perDay[y.real.Format(time.DateOnly)]++
		if !y.asker.asking {
			return next, n
		}
		<-y.Wake()
		y.pass(2 * time.Second)
	}
}

// says reports whether the last look had a problem with that reason.
func (y *publicYear) says(r plan.Reason) bool {
	for id := range y.Keeper.problems.told {
		if strings.HasPrefix(id, string(r)+"\x00") {
			return true
		}
	}
	return false
}

// publicLeaf is the installed leaf of the public CA; nil: none.
func (y *publicYear) publicLeaf() *x509.Certificate {
	if c := y.leaf(); pki.IssuedBy(c, y.by.cert) {
		return c
	}
	return nil
}

func (y *publicYear) check(asked int) {
	y.t.Helper()
	wrong := func(format string, v ...any) {
		y.t.Helper()
		y.t.Errorf("%s, clock off by %s: %s", y.real.Format(time.DateTime), y.off, fmt.Sprintf(format, v...))
	}
	if asked > 3 {
		wrong("%d questions in a row", asked)
	}
	st, _ := state.Load(y.cfg.State.Dir)
	doubt := st.Clock.Doubt == "ahead" || st.Clock.Doubt == "behind"
	switch {
	case !doubt || y.off != 0:
		y.doubted = time.Time{}
	case y.doubted.IsZero():
		y.doubted = y.real
	case y.real.Sub(y.doubted) > believesIn:
		wrong("the clock has been right since %s, and is not believed", y.doubted)
	}
	if y.by.away || y.off != 0 || doubt {
		y.since = time.Time{}
	} else if y.since.IsZero() {
		y.since = y.real
	}

	c := y.publicLeaf()
	y.ordered(wrong, c)
	y.last = c
	var due, dead time.Time
	if c != nil {
		due, dead = c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/3), c.NotAfter
		if _, end := window(c); y.by.windows {
			due = end
		}
	}
	if y.since.IsZero() {
		return
	}
	if from := latest(due, y.since); y.real.Sub(from) > renewsIn {
		wrong("the certificate was due on %s, the CA answers since %s", due, y.since)
	}
	if from := latest(dead, y.since); y.real.Sub(from) > recoversIn {
		wrong("the certificate expired on %s, the CA answers since %s", dead, y.since)
	}
	if c != nil && y.real.Before(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore)*6/10)) {
		for _, r := range []plan.Reason{plan.Expiring, plan.Expired, plan.IssuerAway, plan.ACMERateLimit,
			plan.ACMEOrder, plan.ACMEClock, plan.Due} {
			if y.says(r) {
				wrong("a certificate from %s to %s, and it says %s", c.NotBefore, c.NotAfter, r)
			}
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ordered checks the orders that were placed since the last look.
func (y *publicYear) ordered(wrong func(string, ...any), c *x509.Certificate) {
	y.t.Helper()
	was := y.last
	for ; y.orders < len(y.by.orders); y.orders++ {
		o := y.by.orders[y.orders]
		if was == nil || y.off != 0 {
			continue
		}
		early := was.NotBefore.Add(was.NotAfter.Sub(was.NotBefore) * 6 / 10)
		if y.by.windows {
			early, _ = window(was)
		}
		if o.at.Before(early) {
			wrong("an order at %s for a certificate that begins on %s", o.at, was.NotBefore)
		}
		if y.by.windows && o.replaces == "" {
			wrong("the order does not say what it replaces")
		}
	}
	day := 0
	for _, o := range y.by.orders {
		if o.at.After(y.real.Add(-aDay)) {
			day++
		}
	}
	if day > 2 {
		wrong("%d orders within a day", day)
	}
}

// sum checks what must hold for the whole year.
func (y *publicYear) sum() {
	y.t.Helper()
	busiest := ""
	for day, n := range y.perDay {
		if n > y.perDay[busiest] {
			busiest = day
		}
	}
	y.t.Logf("%d looks, %d of them on %s, %d restarts, %d orders, %d questions when to renew, %d accounts", y.looks,
		y.perDay[busiest], busiest, y.restarts, len(y.by.orders), len(y.by.polls), y.by.accounts)
	if n := len(y.by.orders); n < int(365*aDay/y.by.life) || n > int(365*aDay/y.by.life)*2+10 {
		y.t.Errorf("%d orders in a year", n)
	}
	if y.by.accounts > 1 {
		y.t.Errorf("%d accounts", y.by.accounts)
	}
	for i, at := range y.by.polls {
		n := 0
		for _, other := range y.by.polls[i:] {
			if other.Before(at.Add(aDay)) {
				n++
			}
		}
		if n > 8 {
			y.t.Fatalf("%d questions when to renew within a day from %s", n, at)
		}
	}
}
