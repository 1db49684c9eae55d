package plan

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// withinReach brings times that a wrong clock has put into the future back within
// the longest wait that there is, so that nothing rests until then.
func withinReach(s state.State, now time.Time) state.State {
	s = s.Clone()
	stamp := now.UTC().Truncate(time.Second)
	most := stamp.Add(state.BackoffCap)
	for key, f := range s.Failures {
		if f.Next.After(most) {
			f.Next = most
			s.Failures[key] = f
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

// ages does the same for what is deleted or replaced by its age, where the clock
// is believed: by one that runs behind it would go too soon.
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

// tooEarly says that c is not valid yet and that a better one can be had. By a
// clock that runs behind the CA's own beginning, none can: c is as good as any. So
// is what has begun by a clock that is ahead, which may be right.
func (a *assessment) tooEarly(c *x509.Certificate) bool {
	if !a.at.Before(c.NotBefore) || a.clock == clockAhead && !a.now.Before(c.NotBefore) {
		return false
	}
	g := a.currentCA()
	return g == nil || !a.at.Before(g.NotBefore) || c.NotBefore.After(g.NotBefore)
}

// olderServes says that the clock may have been set right, after it ran ahead and
// was believed: by it the installed certificate is not valid yet. An older one
// that is valid by both needs no signature.
func (p *pair) olderServes() bool {
	return p.clock == clockBehind && p.leaf != nil && p.now.Before(p.leaf.NotBefore)
}

// early deals with a CA that begins in the future: every peer refuses what it signed. One that mailcertd made is made
// again over its key, so that all that it signed stays valid and hosts which trust it go on trusting it. A generation
// that waits is always mailcertd's. True: a certificate is made again, and nothing else is decided about generations
// before.
func early(a *assessment) (found finding, anew bool) {
	o := a.obs.CA
	begins, next := beginning(o.Current.Cert), beginning(o.Next.Cert)
	now, later := a.at.Before(begins), a.at.Before(next)
	if a.clock != clockFine || !now && !later {
		return found, false
	}
	pr := Problem{Reason: CAEarly, Severity: Warning, Path: o.Dir.Path,
		Text: "the CA's next generation begins on " + day(next) + ": it cannot be put into force before that"}
	own := later
	if now {
		own = own || o.Made && pki.SelfSigned(o.Current.Cert)
		pr.Severity, pr.Text = Error, "the CA's certificate begins on "+day(begins)+
			": until then every peer refuses what it has signed"
	}
	switch {
	case !own:
		pr.Hint = "the CA was made by hand with a wrong clock: run `mailcertd ca rollover --now` to replace it by " +
			"one that is valid now"
	case !a.hasKey():
		pr.Hint = "run `mailcertd renew`, which asks for the passphrase of its key"
	default:
		pr.Repairable = true
		found.do(Action{Kind: RedateCA, Reason: CAEarly, Path: a.cfg.CA.Dir,
			Text: toMake.With("the CA's certificate again with the same key, valid from now")})
	}
	found.report(pr)
	return found, pr.Repairable
}
