package plan

import (
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// Wish is what a person asked for with a verb. It names the certificate that it replaces, so that a look at the disk
// shows whether it is fulfilled.
type Wish struct {
	Renew bool // a new certificate, due or not
	Rekey bool // with a new key
	// Now says that the new key does not wait for its TLSA record.
	Now   bool
	Force bool   // also over a foreign set
	From  string // Leaf ID of the certificate to be replaced, "" for none
	// FromKey is the Key ID (pki.KeyFingerprint) of the key to be replaced, "" for none.
	FromKey string
	// Others are the same for the other pairs, by their names; a pair without an entry is not replaced.
	Others map[string]Replaced
	// Spared are the pairs, by their names, that Replace has left out.
	Spared []string
	// TrustClock says that the clock is right, whatever time was seen before.
	TrustClock bool
	// MakeCA asks for a CA although a foreign set makes none necessary (`ca init`).
	MakeCA bool
	// Rollover asks for the CA's next generation, due or not, in place of the one
	// whose pki.Fingerprint is RolloverFrom.
	Rollover     bool
	RolloverFrom string
	// Promote puts the waiting generation in force, even if a member does not trust it yet.
	Promote bool
	// Group is the RFC 7919 group that a person chose for dh.param, "" for none.
	Group string
	// Once is set by verbs, which run once: they repair a pair that does not match at once, and do not wait ten
	// minutes.
	Once bool
}

// Replaced names the certificate and key of one pair that a wish replaces.
type Replaced struct {
	Leaf string // pki.Fingerprint, "" for none
	Key  string // pki.KeyFingerprint, "" for none
}

// Replace returns the wish w, extended to all installed pairs. A pair that was renewed while another one failed is left
// out: who repeats `renew` until the other one works too does not want one certificate more of it for each attempt.
func (f Facts) Replace(w Wish) Wish {
	w.From, w.FromKey, w.Others, w.Spared = "", "", map[string]Replaced{}, nil
	for _, p := range f.Pairs {
		switch r := (Replaced{Leaf: p.Renewed, Key: p.KeyID}); {
		case p.Spare && (!w.Rekey || p.SpareKey):
			w.Spared = append(w.Spared, p.Pair.Name)
		case p.Pair == certdir.Host:
			w.From, w.FromKey = r.Leaf, r.Key
		default:
			w.Others[p.Pair.Name] = r
		}
	}
	return w
}

const (
	// attemptLasts is longer than one question to an issuer on another host: within it, a pair that the same `renew`
	// renewed got its certificate before the failure was noted.
	attemptLasts = 15 * time.Minute
	// sparedFor is how long such a pair is not renewed again.
	sparedFor = 24 * time.Hour
)

// spare reports whether a `renew` leaves out the pair, and whether it leaves it out with --rekey: its certificate, or
// also its key, has come since the certificate for another pair could not be obtained.
func (p *pair) spare() (leaf, key bool) {
	if _, failed := p.obs.State.Failures[ObtainFailureOf(p.is)]; failed || p.owner != Ours || !p.matches {
		return false, false
	}
	since := func(digest [32]byte) bool {
		at := p.obs.State.Ours[FileID(digest)].At
		if at.IsZero() || p.now.Sub(at) >= sparedFor || at.After(p.now) {
			return false
		}
		return slices.ContainsFunc(p.pairs, func(q *pair) bool {
			f, failed := p.obs.State.Failures[ObtainFailureOf(q.is)]
			return failed && q.wanted && q.is != p.is && at.After(f.First.Add(-attemptLasts))
		})
	}
	leaf = since(p.certFile.Digest)
	return leaf, leaf && since(p.keyFile.Digest)
}

// spared reports the pairs that a `renew` leaves out.
func spared(a *assessment) (found finding) {
	for _, p := range a.pairs {
		if !slices.Contains(a.wish.Spared, p.is.Name) {
			continue
		}
		at := a.obs.State.Ours[FileID(p.certFile.Digest)].At
		found.report(Problem{Reason: Asked, Severity: Notice, Path: certPath(p),
			Text: "is not renewed again, because it is from " + moment(at) + ": only what failed then is tried again"})
	}
	return found
}

// replaces reports whether the wish asks for another certificate, and for another key, in place of those installed.
func (w Wish) replaces(p certdir.Pair, i installed) (leaf, key bool) {
	from, asked := w.replaced(p)
	leaf = (w.Renew || w.Rekey) && asked && pki.Fingerprint(i.leaf) == from.Leaf
	key = w.Rekey && asked && pki.KeyFingerprint(i.key) == from.Key
	return leaf, key
}

// replacedNow reports whether the wish has replaced the key of a pair without waiting for its TLSA record.
func (w Wish) replacedNow(p certdir.Pair, i installed) bool {
	from, asked := w.replaced(p)
	return w.Rekey && w.Now && asked && i.key != nil && pki.KeyFingerprint(i.key) != from.Key
}

// replaced is what the wish replaces of a pair, if anything.
func (w Wish) replaced(p certdir.Pair) (from Replaced, asked bool) {
	if p == certdir.Host {
		return Replaced{Leaf: w.From, Key: w.FromKey}, true
	}
	from, asked = w.Others[p.Name]
	return from, asked
}
