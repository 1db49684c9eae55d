package plan

import (
	"crypto/x509"
	"slices"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

// clock is what may be believed of the wall clock (promise: a wrong clock
// never signs over a working set, and never moves the mark).
type clock int

const (
	clockFine   clock = iota
	clockBehind       // earlier than what was already seen
	clockAhead        // so much later that it must last before it is believed
	clockEarly        // before this program was built
	clockLate         // past the CA's end
)

const (
	// clockSlack is how far the clock may step back without being called wrong:
	// ntpd steps after boot, and a leaf's notBefore lies an hour back anyway.
	clockSlack = time.Hour
	// markEvery is how often the high-water mark moves at most.
	markEvery = 24 * time.Hour
	// clockLeap is how far beyond the mark a clock is believed at once: two days,
	// so that a host that is looked at once a day is never doubted, and some hours.
	clockLeap = 50 * time.Hour
	// clockLasts is how long a clock must have run on before a doubt is given up,
	// and clockLastsOver the same where by that clock the certificate is not valid.
	clockLasts     = 24 * time.Hour
	clockLastsOver = time.Hour
	// clockNoted is how often it is noted that a doubted clock runs on, and
	// clockStep how much of the time between two looks counts: a host that sleeps
	// shows nothing. More than clockGap between two looks is another leap.
	clockNoted = 10 * time.Minute
	clockStep  = time.Hour
	clockGap   = 26 * time.Hour
	// clockFresh is how long the first mark of a host may be lowered: a clock that
	// was wrong at the first boot is set right by ntpd soon after.
	clockFresh = time.Hour
	// clockQuiet is up to which distance a doubted clock is merely a notice: a host
	// that was off for some weeks.
	clockQuiet = 30 * 24 * time.Hour
)

// clockLooked is why there is a next look while the clock is not believed.
const clockLooked = "whether the clock can be believed"

// judgement is what may be believed of the clock, and what is remembered of that.
type judgement struct {
	clock clock
	at    time.Time // the time that decisions about certificates go by
	mark  time.Time // the high-water mark from now on
	doubt state.Clock
	seen  time.Time     // what the clock is compared with
	wait  time.Duration // how long it must still last; with clockBehind and clockAhead
}

func judgeClock(a *assessment) judgement {
	st, now := a.obs.State, a.now.UTC().Truncate(time.Second)
	fine := judgement{clock: clockFine, at: a.now, mark: st.HighWater}
	current := a.currentCA()
	if a.wish.TrustClock {
		fine.mark = now
		return fine
	}
	keep := judgement{at: a.now, mark: st.HighWater, doubt: st.Clock}
	if built := built(a); a.now.Before(built.Add(-clockSlack)) {
		keep.clock, keep.at, keep.seen = clockEarly, latest(built, st.HighWater, beginning(current)), built
		return keep
	}
	if current != nil && a.now.After(current.NotAfter) {
		keep.clock, keep.at, keep.seen = clockLate, st.HighWater, current.NotAfter
		if keep.at.IsZero() || keep.at.After(current.NotAfter) {
			keep.at = latest(beginning(current), beginning(a.host.leaf))
		}
		return keep
	}
	fresh := st.Clock.Doubt == doubtNew
	seen := st.HighWater
	if seen.IsZero() || fresh { // all that is older than the first mark still counts
		seen = time.Time{}
		if current != nil && (!fresh || current.NotBefore.Before(st.Clock.Since.Add(-2*clockSlack))) {
			seen = current.NotBefore
		}
	}
	switch {
	case !seen.IsZero() && a.now.Before(seen.Add(-clockSlack)):
		return doubted(a, clockBehind, seen)
	case !st.HighWater.IsZero() && a.now.After(st.HighWater.Add(clockLeap)):
		return doubted(a, clockAhead, st.HighWater)
	case st.HighWater.IsZero(), fresh && a.now.Before(st.HighWater.Add(-clockSlack)): // the first one, or it was wrong
		fine.mark, fine.doubt = now, state.Clock{Doubt: doubtNew, Since: now, Seen: now}
	case fresh && now.Sub(st.Clock.Since) < clockFresh:
		fine.doubt = st.Clock
	case a.now.Sub(st.HighWater) >= markEvery:
		fine.mark = now
	}
	return fine
}

// The words of state.Clock.Doubt.
const (
	doubtNew    = "new"
	doubtAhead  = "ahead"
	doubtBehind = "behind"
)

// doubted counts how long a clock has run on that is far from what was seen. When
// that is long enough, it is believed.
func doubted(a *assessment, kind clock, seen time.Time) judgement {
	now := a.now.UTC().Truncate(time.Second)
	word, need := doubtAhead, clockLasts
	if kind == clockBehind {
		word = doubtBehind
	}
	if a.host.leaf != nil && (a.now.After(a.host.leaf.NotAfter) || a.now.Before(a.host.leaf.NotBefore)) {
		need = clockLastsOver
	}
	d := a.obs.State.Clock
	switch gap := now.Sub(d.Seen); {
	case d.Doubt != word || gap < 0 || gap > clockGap:
		d = state.Clock{Doubt: word, Since: now, Seen: now}
	case gap >= clockNoted:
		d.Lasted += int(min(gap, clockStep) / time.Second)
		d.Seen = now
	}
	lasted := time.Duration(d.Lasted) * time.Second
	if lasted >= need {
		return judgement{clock: clockFine, at: a.now, mark: now}
	}
	return judgement{clock: kind, at: seen, mark: a.obs.State.HighWater, doubt: d, seen: seen, wait: need - lasted}
}

// Signing is by which time something is signed that a person asks for.
type Signing struct {
	At       time.Time     // it ends so many days after
	Backdate time.Duration // and begins so long before
	Doubt    *Problem      // what is wrong with the clock; nil: nothing
}

// SigningTime is how a person's `issue`, `sign` and `revoke` sign, who do not wait
// until a doubted clock is believed: what they sign is valid by that clock and by
// the one that was seen before. No time is both before the build and any good, and
// a CA that has ended signs nothing.
func SigningTime(cfg config.Config, obs Observed, now time.Time) Signing {
	a := assess(cfg, obs, Wish{}, now)
	s := signing(a)
	if doubts := clockProblems(a).problems; len(doubts) > 0 {
		s.Doubt = &doubts[0]
	}
	return s
}

// signing is how to sign what is valid by both clocks.
func signing(a *assessment) Signing {
	s := Signing{At: a.at, Backdate: a.backdate()}
	switch a.clock {
	case clockAhead:
		s.At, s.Backdate = a.now, a.now.Sub(a.at)+clockSlack
	case clockLate:
		s.At = a.now
	}
	return s
}

// lasted says that a doubted clock has run on for so long that what does not work by it is repaired, in a way that
// works by both.
func lasted(a *assessment) bool {
	return (a.clock == clockAhead || a.clock == clockBehind) &&
		time.Duration(a.judged.doubt.Lasted)*time.Second >= clockLastsOver
}

func clockProblems(a *assessment) (found finding) {
	j := a.judged
	says := "the clock says " + a.now.UTC().Format("2006-01-02")
	pr := Problem{Severity: Error, Hint: "set the clock; if it is right, run `mailcertd renew --trust-clock`"}
	switch a.clock {
	case clockFine:
		return found
	case clockEarly:
		pr.Reason, pr.Text = ClockImplaus, says+", before this program was built ("+day(j.seen)+")"
	case clockLate:
		pr.Reason, pr.Text = ClockImplaus, says+", past the CA's end ("+day(j.seen)+")"
		pr.Hint = "set the clock; if it is right, the CA has expired: run `mailcertd renew --trust-clock` to make " +
			"its next generation"
		if a.remote() || !a.hasKey() {
			pr.Hint = "set the clock; if it is right, the CA has expired: run `mailcertd renew --trust-clock`"
		}
	case clockBehind:
		pr.Reason, pr.Text = ClockBehind,
			"the clock was set to "+day(j.doubt.Since)+", but mailcertd has seen "+day(j.seen)+" before"
	case clockAhead:
		pr.Reason, pr.Text = ClockAhead,
			"the clock says "+day(j.doubt.Since)+", "+span(j.doubt.Since.Sub(j.seen))+" after mailcertd last saw it"
		if a.host.leaf != nil && a.now.After(a.host.leaf.NotAfter) {
			pr.Text += "; by this clock the certificate expired on " + day(a.host.leaf.NotAfter)
		}
		pr.Severity = graveness(a, a.now.Sub(j.seen))
	}
	pr.Text += ": nothing new is signed while the present certificate works"
	found.lookAt(a.now.Add(clockStep), clockLooked)
	if a.clock == clockBehind || a.clock == clockAhead {
		pr.Text += " until the clock is believed"
		pr.Hint = "if the clock is wrong, set it; if it is right, do nothing: mailcertd believes it after another " +
			span(j.wait) +
			", or now, with `mailcertd renew --trust-clock`"
		found.lookAt(a.now.Add(min(clockStep, max(clockNoted, j.wait/6))), clockLooked)
	}
	found.report(pr)
	return found
}

// graveness is how bad a clock is that is so far ahead: an error where it holds
// something up, nothing much after some days off.
func graveness(a *assessment, gap time.Duration) Severity {
	over := a.host.leaf != nil && a.host.owner.mine() && a.now.After(a.host.leaf.NotAfter)
	if over || a.wish.Renew || a.wish.Rekey || a.wish.Rollover || len(a.obs.Inbox.Pending) > 0 && !a.remote() {
		return Error
	}
	if gap > clockQuiet {
		return Warning
	}
	return Notice
}

func beginning(c *x509.Certificate) time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.NotBefore
}

func latest(times ...time.Time) (out time.Time) {
	for _, t := range times {
		if t.After(out) {
			out = t
		}
	}
	return out
}

// maySign says that a certificate may be signed now: always over a set that does not work or an interim certificate,
// which no peer trusts, else only by a clock that can be believed.
func (a *assessment) maySign() bool {
	return a.clock == clockFine || !a.works() || a.host.owner == Interim
}

// works says that sendmail has something to serve: the rules accept the set.
func (a *assessment) works() bool { return a.host.matches && a.offered() && !a.breaks() }

// breaks says that a second pair costs STARTTLS: it is missing or unsafe, or of the same key family as the first.
func (a *assessment) breaks() bool {
	return slices.ContainsFunc(a.verdict.Complaints, func(c mta.Complaint) bool {
		return c.Fatal && !c.Beyond &&
			c.Of == mta.SecondServer
	})
}

// backdate is how far a certificate begins before Plan.At: an hour, and by a clock
// that runs behind so far that it is valid by that one too.
func (a *assessment) backdate() time.Duration {
	if a.clock == clockBehind {
		return a.at.Sub(a.now) + clockSlack
	}
	return clockSlack
}

// written is a day before which no clock can be right, where it is not known when
// the program was built.
var written = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func built(a *assessment) time.Time {
	if a.obs.Build.IsZero() {
		return written
	}
	return a.obs.Build
}
