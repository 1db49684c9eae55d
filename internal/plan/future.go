package plan

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// withinReach limits times in the state that a wrong clock put into the future to the longest backoff, so that nothing
// waits for ever.
func withinReach(s state.State, now time.Time) state.State {
	s = s.Clone()
	stamp := now.UTC().Truncate(time.Second)
	most := stamp.Add(backoffCap)
	for key, f := range s.Failures {
		most := most
		if f.Kind != "" { // an ACME CA may want to be left alone for days: the wait began at Last
			if f.Last.After(now) {
				f.Next = stamp.Add(f.Next.Sub(f.Last))
				f.Last = stamp
			}
			most = f.Last.Add(longestWait)
		}
		if f.Next.After(most) {
			f.Next = most
		}
		s.Failures[key] = f
	}
	for name, m := range s.ACME {
		if m.Answered.After(now) {
			m.Answered = stamp
			s.ACME[name] = m
		}
	}
	if s.Pickup != nil && s.Pickup.Next.After(most) {
		s.Pickup.Next = most
	}
	for _, d := range s.Notify {
		if d == nil {
			continue
		}
		for _, t := range []*time.Time{&d.Next, &d.Running} {
			if t.After(most) {
				*t = most
			}
		}
	}
	for _, t := range []*time.Time{&s.Name.Since, &s.Mismatch.Since, &s.Member.Asked} {
		if t.After(now) {
			*t = stamp
		}
	}
	for name, p := range s.Pairs {
		if p.Mismatch.Since.After(now) {
			p.Mismatch.Since = stamp
			s.SetPair(name, p)
		}
	}
	return s
}

// ages does the same for what is deleted or replaced by its age. It needs a believed clock: by one that runs behind,
// those would be deleted too soon.
func ages(a *assessment, keys []state.OldKey, ours map[string]state.Ours) ([]state.OldKey, map[string]state.Ours) {
	if a.clock != clockFine {
		return keys, ours
	}
	keys, ours = slices.Clone(keys), maps.Clone(ours)
	for i, k := range keys {
		if most := a.stamp().Add(oldKeyKept); k.After.After(most) {
			keys[i].After = most
		}
	}
	for id, o := range ours {
		if o.At.After(a.now) {
			o.At = a.stamp()
			ours[id] = o
		}
	}
	return keys, ours
}

// tooEarly reports whether c is not valid yet and a better certificate can be had. While the clock is before the CA's
// own notBefore, none can. A certificate that is valid by a clock that is ahead counts as valid, because that clock may
// be right.
func (p *pair) tooEarly(c *x509.Certificate) bool {
	if !p.at.Before(c.NotBefore) || p.clock == clockAhead && !p.now.Before(c.NotBefore) {
		return false
	}
	g := p.issuer.current()
	return g == nil || !p.at.Before(g.NotBefore) || c.NotBefore.After(g.NotBefore)
}

// olderServes reports that the installed certificate is not valid yet by a clock that runs behind: the clock may have
// run ahead for a while, was believed and is now right. An older certificate that is valid by both needs no new
// signature.
func (p *pair) olderServes() bool {
	return p.clock == clockBehind && p.leaf != nil && p.now.Before(p.leaf.NotBefore)
}

// early handles a CA certificate that begins in the future: every peer refuses what it signed. One that mailcertd made
// is made again over its key, so that its leaves stay valid and hosts that trust it still do. A waiting generation is
// always mailcertd's. The result is true where a CA certificate is made again now, and
// the caller decides nothing else about generations.
func early(a *assessment) (found finding, anew bool) {
	o := a.obs.CA
	begins, next := beginning(o.Current.Cert), beginning(o.Next.Cert)
	now, later := a.at.Before(begins), a.at.Before(next)
	if a.clock != clockFine || !now && !later {
		return found, false
	}
	pr := Problem{Reason: CAEarly, Severity: Warning, Path: o.Dir.Path,
		Text: "the CA's next generation becomes valid on " + moment(next) + ": it cannot be put into force before that"}
	own := later
	if now {
		own = own || o.Made && pki.SelfSigned(o.Current.Cert)
		pr.Severity, pr.Text = Error, "the CA's certificate becomes valid on "+moment(begins)+
			": until then every peer refuses what it has signed"
	}
	switch {
	case !own:
		pr.Hint = "the CA was made by hand with a wrong clock: run `mailcertd ca rollover --now` to replace it by " +
			"one that is valid now"
	case !hasKey(a):
		pr.Hint = "run `mailcertd renew`, which asks for the passphrase of its key"
	default:
		pr.Repairable = true
		found.do(Action{Kind: RedateCA, Reason: CAEarly, Path: a.cfg.CA.Dir,
			Text: toMake.With("the CA's certificate again with the same key, valid from now")})
	}
	found.report(pr)
	return found, pr.Repairable
}
