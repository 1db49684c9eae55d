package plan

import (
	"maps"
	"slices"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// The modes of the files, as the base system's stanza sets them.
const (
	keyMode    = 0o600
	publicMode = 0o644
	dirMode    = 0o755
	secretMode = 0o700
)

// outcome is a finding about the certs directory, with its part in the transaction.
type outcome struct {
	finding
	change Change
	// mismatch is, by the name of a pair, the time since when its key and certificate do not match, for the state; zero
	// where they match. A pair without an entry keeps what the state has.
	mismatch map[string]state.Seen
	// asks is, by the name of a pair with an interim certificate, when the CA on another host is asked for the one that
	// takes its place.
	asks     map[string]time.Time
	obtained []string // keys of failed attempts that are forgotten, because these pairs need no certificate now
	rests    bool     // a person is writing cacert.pem, so its present content must not decide about hash links
}

// and joins two outcomes, those of o first. For a pair in both, the mismatch of p counts.
func (o outcome) and(p outcome) outcome {
	out := outcome{finding: o.finding.and(p.finding), change: o.change.and(p.change), mismatch: maps.Clone(o.mismatch),
		asks: maps.Clone(o.asks), obtained: slices.Concat(o.obtained, p.obtained), rests: o.rests || p.rests}
	for name, seen := range p.mismatch {
		out.unmatched(name, seen)
	}
	for name, at := range p.asks {
		out.asked(name, at)
	}
	return out
}

// unmatched notes since when key and certificate of a pair do not match; a zero value forgets it.
func (o *outcome) unmatched(name string, seen state.Seen) {
	if o.mismatch == nil {
		o.mismatch = map[string]state.Seen{}
	}
	o.mismatch[name] = seen
}

// asked notes when the issuer is asked for the certificate that takes the place of an interim one.
func (o *outcome) asked(name string, at time.Time) {
	if o.asks == nil {
		o.asks = map[string]time.Time{}
	}
	o.asks[name] = at
}

// set decides about everything in the certs directory that changes together: keys, certificates, cacert.pem, hash
// links, dh.param and crl.pem. sofar is the finding of the earlier sections.
func set(a *assessment, sofar finding) outcome {
	if a.obs.Certs.Err != nil || certsBlocked(a) {
		return outcome{} // the section `directories` reports why
	}
	out := pairSection(a.host, sofar)
	out = out.and(strip(a.host, out.change))
	out = out.and(others(a, sofar.and(out.finding)))
	out = out.and(trust(a, out))
	out = out.and(parameters(a))
	out = out.and(revocation(a, sofar))
	if a.doing(out.finding, Obtain) { // everything is installed together when the answer is there
		return out
	}
	core, extra := apart(a, out.change).split()
	if act, any := emit(a, core); any {
		out.do(act)
	}
	if act, any := emit(a, extra); any && !a.doing(out.finding, Install) { // after an Install the next look decides
		out.do(act)
	}
	return out
}

// pairSection decides about one pair: it cannot be read, was restored, belongs to another CA, or is ours to renew.
func pairSection(p *pair, sofar finding) outcome {
	if n, bad := p.unreadable(); bad {
		return outcome{finding: blocked(n)}
	}
	if firstWaits(p) {
		return firstKey(p)
	}
	if p.held() {
		var out outcome
		hint := ""
		if p.is.Server() && p.tlsa.Under(p.is.Name) {
			hint = "its next key waits until then, too; to use it earlier, run `mailcertd renew`"
		}
		out.report(Problem{Reason: Held, Severity: Notice, Path: certPath(p), Hint: hint,
			Text: "this certificate was restored from a backup, and is kept until its renewal is due"})
		return out.and(finishStaged(p))
	}
	if p.keptForeign() {
		out := outcome{finding: foreign(p)}
		out.unmatched(p.is.Name, state.Seen{})
		return out.and(finishStaged(p))
	}
	return renewal(p, sofar)
}

// strip removes certificates from a key file that mailcertd made. A key file of a person is not changed.
func strip(p *pair, c Change) (out outcome) {
	k := p.keyFile
	if k.Key.Certs == 0 || !p.keyIsOurs() || k.Node.Kind != durable.File || c.file(p.is.KeyFile) != nil {
		return out
	}
	out.report(Problem{Reason: KeyHasCert, Severity: Warning, Path: k.Node.Path, Repairable: true,
		Text: "contains " + counted(k.Key.Certs, "certificate") + " in addition to the key"})
	out.change.Files = []File{{Name: p.is.KeyFile, Mode: keyMode, Source: FromStripped, Reason: KeyHasCert}}
	return out
}
