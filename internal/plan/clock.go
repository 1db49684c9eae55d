package plan

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/state"
)

// clock is the verdict on the system's clock. A wrong clock never signs over a working set and never moves
// the mark.
type clock int

const (
	clockFine   clock = iota
	clockBehind       // earlier than a time already seen
	clockAhead        // far later than a time already seen; believed after a while
	clockEarly        // before this program was built
	clockLate         // past the CA's end
)

const (
	// clockSlack is how far the clock may go back and still be believed: ntpd steps it after boot, and notBefore is an
	// hour back anyway.
	clockSlack = time.Hour
	// markEvery is the shortest time between two moves of the high-water mark.
	markEvery = 24 * time.Hour
	// clockLeap is how far beyond the mark a clock is believed at once: two days, so that a host with one look a day is
	// never doubted, and two hours of slack.
	clockLeap = 50 * time.Hour
	// clockLasts is how long a doubted clock must have run on before it is believed; clockLastsOver is the same where
	// the certificate is not valid by that clock.
	clockLasts     = 24 * time.Hour
	clockLastsOver = time.Hour
	// clockNoted is how often the state notes that a doubted clock runs on. Of the time between two looks at most
	// clockStep counts, because a sleeping host shows nothing. More than clockGap between two looks starts the doubt
	// again.
	clockNoted = 10 * time.Minute
	clockStep  = time.Hour
	clockGap   = 26 * time.Hour
	// clockFresh is how long a host's first mark may still be lowered: ntpd corrects a wrong clock soon after the first
	// boot.
	clockFresh = time.Hour
	// clockQuiet is the distance up to which a doubted clock is only a notice: the host may have been off for some
	// weeks.
	clockQuiet = 30 * 24 * time.Hour
)

// clockLooked names the purpose of the next look while the clock is doubted.
const clockLooked = "mailcertd checks again whether the clock is right"

// judgement is the verdict on the clock, with the two times, and what the state remembers of it.
type judgement struct {
	now   time.Time // what the clock says: timers go by it
	clock clock
	at    time.Time // the believed time, by which certificates are judged
	mark  time.Time // the new high-water mark
	doubt state.Clock
	seen  time.Time     // the time that the clock was compared with
	wait  time.Duration // how long the clock must still run on; for clockBehind and clockAhead
}

func judgeClock(a *assessment) judgement {
	st, now := a.obs.State, a.now.UTC().Truncate(time.Second)
	fine := judgement{now: a.now, clock: clockFine, at: a.now, mark: st.HighWater}
	current := a.issuer.current()
	if a.wish.TrustClock {
		fine.mark = now
		return fine
	}
	keep := judgement{now: a.now, at: a.now, mark: st.HighWater, doubt: st.Clock}
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
	if seen.IsZero() || fresh { // the first mark may be wrong; the CA's notBefore still counts
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
	case st.HighWater.IsZero(), fresh && a.now.Before(st.HighWater.Add(-clockSlack)): // sets or corrects it
		fine.mark, fine.doubt = now, state.Clock{Doubt: doubtNew, Since: now, Seen: now}
	case fresh && now.Sub(st.Clock.Since) < clockFresh:
		fine.doubt = st.Clock
	case a.now.Sub(st.HighWater) >= markEvery:
		fine.mark = now
	}
	return fine
}

// The values of state.Clock.Doubt.
const (
	doubtNew    = "new"
	doubtAhead  = "ahead"
	doubtBehind = "behind"
)

// doubted counts how long a clock that is far from the seen time has run on, and believes it when that is long enough.
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
		return judgement{now: a.now, clock: clockFine, at: a.now, mark: now}
	}
	return judgement{now: a.now, clock: kind, at: seen, mark: a.obs.State.HighWater, doubt: d, seen: seen,
		wait: need - lasted}
}

// Signing holds the times for something that a person asks to have signed.
type Signing struct {
	At       time.Time     // notAfter is the configured days after it
	Backdate time.Duration // notBefore is this long before At
	Doubt    *Problem      // why the clock is doubted; nil: it is believed
}

// SigningTime returns the times for a person's `issue`, `sign` and `revoke`, which do not wait until a doubted clock is
// believed. The result is valid by the doubted clock and by the time seen before. For a clock before the build no such
// time exists, and an expired CA signs nothing.
func SigningTime(cfg config.Config, obs Observed, now time.Time) Signing {
	a := assess(cfg, obs, Wish{}, now)
	s := a.signing()
	if doubts := clockProblems(a).problems; len(doubts) > 0 {
		s.Doubt = &doubts[0]
	}
	return s
}

// signing returns the times that make a signature valid by the clock and by the seen time.
func (j judgement) signing() Signing {
	s := Signing{At: j.at, Backdate: j.backdate()}
	switch j.clock {
	case clockAhead:
		s.At, s.Backdate = j.now, j.now.Sub(j.at)+clockSlack
	case clockLate:
		s.At = j.now
	}
	return s
}

// lasted reports whether a doubted clock has run on so long that what is invalid by it is repaired, with validity by
// both times.
func (j judgement) lasted() bool {
	return (j.clock == clockAhead || j.clock == clockBehind) &&
		time.Duration(j.doubt.Lasted)*time.Second >= clockLastsOver
}

func clockProblems(a *assessment) (found finding) {
	j := a.judgement
	says := "the clock says " + a.now.UTC().Format("2006-01-02")
	pr := Problem{Severity: Error, Hint: "set the clock; if it is right, run `mailcertd renew --trust-clock`"}
	switch a.clock {
	case clockFine:
		return found
	case clockEarly:
		pr.Reason, pr.Text = ClockImplaus, says+", before this program was built ("+moment(j.seen)+")"
	case clockLate:
		pr.Reason, pr.Text = ClockImplaus, says+", past the CA's end ("+moment(j.seen)+")"
		pr.Hint = "set the clock; if it is right, the CA has expired: run `mailcertd renew --trust-clock` to make " +
			"its next generation"
		if a.issuer.remote() || !hasKey(a) {
			pr.Hint = "set the clock; if it is right, the CA has expired: run `mailcertd renew --trust-clock`"
		}
	case clockBehind:
		pr.Reason, pr.Text = ClockBehind,
			"the clock was set to "+moment(j.doubt.Since)+", but mailcertd has seen "+moment(j.seen)+" before"
	case clockAhead:
		pr.Reason, pr.Text = ClockAhead,
			"the clock says "+moment(j.doubt.Since)+", "+span(j.doubt.Since.Sub(j.seen))+" after mailcertd last saw it"
		if a.host.leaf != nil && a.now.After(a.host.leaf.NotAfter) {
			pr.Text += "; by this clock the certificate expired on " + moment(a.host.leaf.NotAfter)
		}
		pr.Severity = graveness(a, a.now.Sub(j.seen))
	}
	pr.Text += ": nothing new is signed while the present certificate works"
	found.lookAt(a.now.Add(clockStep), clockLooked)
	if a.clock == clockBehind || a.clock == clockAhead {
		pr.Text += " until the clock is believed"
		pr.Hint = "if the clock is wrong, set it; if it is right, do nothing: mailcertd believes it after another " +
			span(j.wait) +
			"; to believe it now, run `mailcertd renew --trust-clock`"
		found.lookAt(a.now.Add(min(clockStep, max(clockNoted, j.wait/6))), clockLooked)
	}
	found.report(pr)
	return found
}

// graveness is the severity of a clock that is far ahead: an error where it stops a renewal, a notice after some days
// off.
func graveness(a *assessment, gap time.Duration) Severity {
	over := a.host.leaf != nil && a.host.owner.mine() && a.now.After(a.host.leaf.NotAfter)
	if over || a.wish.Renew || a.wish.Rekey || a.wish.Rollover || len(a.obs.Inbox.Pending) > 0 && !a.issuer.remote() {
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

// maySign reports whether a certificate may be signed now: always over a set that does not work or an interim
// certificate, which no peer trusts; otherwise only by a believed clock.
func (a *assessment) maySign() bool {
	return a.clock == clockFine || !a.works() || a.host.owner == Interim
}

// backdate is how long notBefore is before Plan.At: an hour, and more by a clock that is behind, so that the
// certificate is valid by that clock too.
func (j judgement) backdate() time.Duration {
	if j.clock == clockBehind {
		return j.at.Sub(j.now) + clockSlack
	}
	return clockSlack
}

// stamp is the time that the state notes, in whole seconds.
func (j judgement) stamp() time.Time { return j.now.UTC().Truncate(time.Second) }

// written is a lower bound for any right clock, used where the build time is unknown.
var written = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func built(a *assessment) time.Time {
	if a.obs.Build.IsZero() {
		return written
	}
	return a.obs.Build
}
