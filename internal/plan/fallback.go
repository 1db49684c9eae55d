package plan

import (
	"cmp"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
)

// The fallback is a second ACME CA, issuer.acme.fallback. It is asked only while the first one is away or has given
// too many certificates, because waiting alone helps then; whatever else a CA refuses, another one refuses as well. It
// is asked late, because the first CA is the one that the owner wants.
const (
	// fallbackAfter is how long the first CA must have given no certificate.
	fallbackAfter = time.Hour
	// fallbackPart of its lifetime is left of a certificate that works when the fallback is asked: half of what is
	// left when its renewal is due.
	fallbackPart = 6
)

// FallbackFailure is the key of state.Failures for failed orders for a pair at the fallback.
func FallbackFailure(p certdir.Pair) string { return "fallback " + p.Name }

// fallback is the directory of the second ACME CA; "": none is configured.
func (i *pairIssuer) fallback() string {
	if !i.acme() {
		return ""
	}
	return i.ACME.Fallback.Directory
}

// directoryOf is the directory that issued the installed leaf of a pair; "": it is not known.
func directoryOf(p *pair) string {
	return cmp.Or(orderedBy(p), directoryIn(p.certFile))
}

// orderedBy is directoryOf by the state alone.
func orderedBy(p *pair) string {
	if p.leaf == nil {
		return ""
	}
	return p.obs.State.ACME[p.is.Name].Of(pki.Fingerprint(p.leaf))
}

// fromFallback reports whether the fallback issued the installed leaf.
func fromFallback(p *pair) bool {
	return p.owner == Ours && p.issuer.fallback() != "" && directoryOf(p) == p.issuer.fallback()
}

// fallbackFrom is when the fallback is asked for the pair at the earliest; false: it is not asked, because none is
// configured or because the first CA has not failed in a way that waiting alone corrects.
func fallbackFrom(p *pair) (time.Time, bool) {
	f, failed := p.obs.State.Failures[ObtainFailureOf(p.is)]
	kind := issuer.Kind(f.Kind)
	if !failed || p.issuer.fallback() == "" || kind != issuer.KindAway && kind != issuer.KindRateLimit {
		return time.Time{}, false
	}
	from := f.First.Add(fallbackAfter)
	if c := p.leaf; c != nil && p.owner != Interim && p.matches && p.revoked == nil {
		from = latest(from, c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/fallbackPart))
	}
	return from, true
}

// asksFallback reports whether the fallback is asked for the pair now, while the first CA is not, and otherwise when it
// will be; the zero time: never.
func asksFallback(p *pair) (bool, time.Time) {
	from, ever := fallbackFrom(p)
	if !ever {
		return false, time.Time{}
	}
	if f, failed := p.obs.State.Failures[FallbackFailure(p.is)]; failed {
		from = latest(from, f.Next)
	}
	return !p.now.Before(from), from
}

// fallbacks reports what the second ACME CA has done and has not done, so that it is never used in silence.
func fallbacks(p *pair) (found finding) {
	by := p.issuer.fallback()
	if f, failed := p.obs.State.Failures[FallbackFailure(p.is)]; failed && by != "" {
		no := noFrom(p, "the fallback "+by, f)
		no.Hint = atFallback(no.Hint)
		found.report(no)
	}
	if fromFallback(p) {
		found.report(Problem{Reason: ACMEFallback, Severity: Warning, Path: certPath(p),
			Text: "the fallback " + by + " issued it, because " + p.issuer.name() + " gave no certificate in time",
			Hint: "its renewal asks " + p.issuer.name() + " first, on " + moment(p.dueOf(p.leaf)) +
				"; to ask it now, run `mailcertd renew`"})
	}
	return found
}

// atFallback is a hint for the settings of the fallback, made from the one for those of the first CA.
func atFallback(hint string) string {
	return strings.ReplaceAll(hint, "issuer.acme.", "issuer.acme.fallback.")
}
