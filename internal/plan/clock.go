package plan

import (
	"crypto/x509"
	"time"
)

// clock is what may be believed of the wall clock (promise: a wrong clock
// never signs over a working set, and never moves the mark).
type clock int

const (
	clockFine        clock = iota
	clockBehind            // earlier than what was already seen
	clockImplausible       // before this build, or past the CA's end
)

const (
	// clockSlack is how far the clock may step back without being called wrong:
	// ntpd steps after boot, and a leaf's notBefore lies an hour back anyway.
	clockSlack = time.Hour
	// markEvery is how often the high-water mark moves at most.
	markEvery = 24 * time.Hour
)

func (a *assessment) judgeClock() clock {
	if a.wish.TrustClock {
		return clockFine
	}
	if !a.obs.Build.IsZero() && a.now.Before(a.obs.Build.Add(-clockSlack)) {
		return clockImplausible
	}
	if c := a.currentCA(); c != nil {
		if a.now.After(c.NotAfter) {
			return clockImplausible
		}
		if a.now.Before(c.NotBefore.Add(-clockSlack)) {
			return clockBehind
		}
	}
	if hw := a.obs.State.HighWater; !hw.IsZero() && a.now.Before(hw.Add(-clockSlack)) {
		return clockBehind
	}
	return clockFine
}

func (a *assessment) clockProblems(p *Plan) {
	hint := "set the clock; if it is right, run `mailcertd renew --trust-clock`"
	switch a.clock {
	case clockBehind:
		seen := a.obs.State.HighWater
		if c := a.currentCA(); c != nil && c.NotBefore.After(seen) {
			seen = c.NotBefore
		}
		p.report(Problem{Reason: ClockBehind, Severity: Error, Hint: hint,
			Text: "the clock says " + day(a.now) + ", but " + day(seen) + " has been seen: nothing new is signed over a working set"})
	case clockImplausible:
		text := "the clock says " + day(a.now) + ", before this program was built (" + day(a.obs.Build) + ")"
		if c := a.currentCA(); c != nil && a.now.After(c.NotAfter) {
			text = "the clock says " + day(a.now) + ", past the CA's end (" + day(c.NotAfter) + ")"
		}
		p.report(Problem{Reason: ClockImplaus, Severity: Error, Hint: hint, Text: text + ": nothing new is signed over a working set"})
	case clockFine:
		hw := p.State.HighWater
		if a.wish.TrustClock && hw.After(a.now) {
			p.State.HighWater = a.now.UTC().Truncate(time.Second)
		} else if hw.IsZero() || a.now.Sub(hw) >= markEvery {
			p.State.HighWater = a.now.UTC().Truncate(time.Second)
		}
	}
}

// tooEarly says that c is not valid yet and that a better one can be had. By a
// clock that runs behind the CA's own beginning, none can: c is as good as any.
func (a *assessment) tooEarly(c *x509.Certificate) bool {
	if !a.now.Before(c.NotBefore) {
		return false
	}
	g := a.currentCA()
	return g == nil || !a.now.Before(g.NotBefore) || c.NotBefore.After(g.NotBefore)
}

// maySign says that a certificate may be signed now: always over a set that
// does not work, else only by a clock that can be believed.
func (a *assessment) maySign() bool {
	return a.clock == clockFine || !a.works()
}

// works says that sendmail has something to serve: the rules accept the set.
func (a *assessment) works() bool { return a.matches && a.offered() }
