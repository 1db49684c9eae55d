package plan

import (
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

// Replace returns the wish w, extended to all installed pairs.
func (f Facts) Replace(w Wish) Wish {
	w.From, w.FromKey, w.Others = f.Renewed, f.KeyID, map[string]Replaced{}
	for _, p := range f.Pairs {
		if p.Pair != certdir.Host {
			w.Others[p.Pair.Name] = Replaced{Leaf: p.Renewed, Key: p.KeyID}
		}
	}
	return w
}

// replaces reports whether the wish asks for another certificate, and for another key, in place of those installed.
func (w Wish) replaces(p certdir.Pair, i installed) (leaf, key bool) {
	from, asked := w.Others[p.Name]
	if p == certdir.Host {
		from, asked = Replaced{Leaf: w.From, Key: w.FromKey}, true
	}
	leaf = (w.Renew || w.Rekey) && asked && pki.Fingerprint(i.leaf) == from.Leaf
	key = w.Rekey && asked && pki.KeyFingerprint(i.key) == from.Key
	return leaf, key
}
