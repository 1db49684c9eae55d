package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"mailcertd/internal/certdir"
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
	obtained []string // keys of failed attempts that are forgotten, because these pairs need no certificate now
	rests    bool     // a person is writing cacert.pem, so its present content must not decide about hash links
}

// and joins two outcomes, those of o first. For a pair in both, the mismatch of p counts.
func (o outcome) and(p outcome) outcome {
	out := outcome{finding: o.finding.and(p.finding), change: o.change.and(p.change), mismatch: maps.Clone(o.mismatch),
		obtained: slices.Concat(o.obtained, p.obtained), rests: o.rests || p.rests}
	for name, seen := range p.mismatch {
		out.unmatched(name, seen)
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
	if p.held() {
		var out outcome
		out.report(Problem{Reason: Held, Severity: Notice, Path: certPath(p),
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

// requestFor returns the request for a certificate, for the staged key or for the installed one.
func requestFor(p *pair, staged bool) *Request {
	return &Request{Pair: p.is, Staged: staged, Name: p.name, AltNames: p.cfg.Host.AltNames, Days: p.cfg.Validity.Days}
}

// pairSettles is how long `run` waits where key and certificate do not match: a person may be copying them one after
// the other.
const pairSettles = 10 * time.Minute

// waitsForPair reports whether to wait before a mismatch is repaired, because the certificate or the key is not ours
// and a person may still be copying the other one. since is the beginning of the mismatch, for the state.
func waitsForPair(p *pair) (waits bool, since state.Seen) {
	foreignCert := p.leaf != nil && p.owner == Foreign
	foreignKey := p.key != nil && !p.keyIsOurs()
	if p.matches || !foreignCert && !foreignKey {
		return false, state.Seen{}
	}
	since = unmatchedSince(p)
	return !p.wish.Once && p.now.Before(since.Since.Add(pairSettles)), since
}

// unmatchedSince returns since when these files, with these contents, have not matched.
func unmatchedSince(p *pair) state.Seen {
	id := SetID(p.obs.Certs)
	if p.is != certdir.Host {
		id = FileID(p.keyFile.Digest) + " " + FileID(p.certFile.Digest)
	}
	if seen := p.remembered().Mismatch; seen.Digest == id {
		return seen
	}
	return state.Seen{Digest: id, Since: p.stamp()}
}

// interim installs a self-signed certificate, where sendmail has nothing to serve and nobody can issue one now.
func interim(d demand) outcome {
	var out outcome
	p, why := d.pair, d.first.reason
	if d.newKey {
		if p.staged.Public == nil {
			out.do(stageKey(p, why))
		}
		out.change.Files = append(out.change.Files, File{Name: p.is.KeyFile, Mode: keyMode, Source: FromStaging,
			Reason: why})
	}
	out.change.Interim = requestFor(p, false)
	if p.name == "" {
		out.change.Interim.Name = "amnesiac" // the name that rc.d/sendmail gives a host without a name
	}
	out.change.Files = append(out.change.Files, File{Name: p.is.CertFile, Mode: publicMode, Source: FromSelf,
		Reason: why})
	out.report(Problem{Reason: NoIssuer, Severity: Error, Path: certPath(p),
		Text: "no certificate can be issued now, so an interim self-signed one is installed",
		Hint: "the other problems say why; until they are solved, peers log verify=FAIL"})
	return out
}

// stageKey returns the action that makes a new key; the installed one stays until a certificate for the new one exists.
func stageKey(p *pair, why Reason) Action {
	t := newKeyType(p)
	act := Action{Kind: StageKey, Reason: why, KeyType: t, Pair: p.is}
	what := fmt.Sprintf("a new %s key", t)
	if p.is != certdir.Host { // the path gives each pair its own count of failures
		act.Path, what = keyPath(p), what+" for "+p.is.KeyFile
	}
	act.Text = toMake.With(what)
	return act
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

// bridges reports whether an interim certificate is better than none until the demand is met: where sendmail would
// otherwise not offer STARTTLS, or the present interim certificate ends or is for another name. A client delivers mail
// without one.
func bridges(d demand) bool {
	p := d.pair
	if p.is != certdir.Host && !(p.is == certdir.HostECDSA && namesPair(p.cf(), p.obs.Certs, p.is)) {
		return false
	}
	return d.first.broken ||
		p.owner == Interim && (p.isDue(p.leaf) || p.at.Before(p.leaf.NotBefore) || !p.covers(p.leaf))
}
