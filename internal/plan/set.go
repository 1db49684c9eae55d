package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
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

// renewal decides about a pair that mailcertd may replace. In this order, it installs a certificate that exists
// already, asks the CA on another host, obtains one from the local CA, or bridges with an interim certificate.
func renewal(p *pair, sofar finding) outcome {
	wanted := p.needs()
	if len(wanted) == 0 {
		out := finishStaged(p)
		if !p.issuer.remote() {
			out.obtained = []string{ObtainFailureOf(p.is)}
		}
		return out
	}
	if p.delivering() {
		return await(p, wanted)
	}
	first, newKey := wanted[0], slices.ContainsFunc(wanted, func(n need) bool { return n.key })
	repaired := outcome{finding: finding{problems: complaints(p, wanted, true)}}
	left := outcome{finding: finding{problems: complaints(p, wanted, false)}}
	if being, now := pairWritten(p); now && first.broken {
		return left.and(outcome{finding: being})
	}
	if !p.maySign() {
		if first.reason == NotYetValid && p.olderServes() {
			if is := p.candidate(p.key, NotYetValid); is != nil {
				return repaired.and(outcome{change: leafChange(p, is, false, NotYetValid)})
			}
		}
		return left // the problem about the clock says why
	}
	if first.broken {
		waits, since := waitsForPair(p)
		repaired.unmatched(p.is.Name, since)
		left.unmatched(p.is.Name, since)
		if waits {
			left.lookAt(since.Since.Add(pairSettles), "key and certificate still do not match")
			return left
		}
	} else if p.name == "" {
		return left // the problem about the host name says why
	}
	if unread, is := stagedUnread(p); is && newKey {
		return left.and(outcome{finding: unread})
	}
	if newKey && stagedTwin(p) {
		left.do(unstage(p))
		return left
	}
	pub := p.key
	if newKey {
		pub = p.staged.Public
	}
	if is := p.candidate(pub, first.reason); is != nil {
		return repaired.and(outcome{change: leafChange(p, is, newKey, first.reason)})
	}
	if p.issuer.remote() || p.issuer.acme() {
		return request(p, left, sofar, first, newKey)
	}
	can, found := obtainable(p, sofar)
	if !can {
		if bridges(p, first) {
			return repaired.and(outcome{finding: found}).and(interim(p, newKey, first.reason))
		}
		if p.issuer.Kind == config.IssuerNone && p.is != certdir.Host {
			for i := range left.problems {
				if pr := &left.problems[i]; pr.Reason == first.reason && pr.Hint == "" {
					pr.Hint = byHand(p)
				}
			}
		}
		return left.and(outcome{finding: found})
	}
	if newKey && p.staged.Public == nil {
		found.do(stageKey(p, first.reason))
	}
	found.do(Action{Kind: Obtain, Reason: first.reason, Path: certPath(p), Pair: p.is,
		Text: toIssue.With(fmt.Sprintf("a certificate for %s (%s: %s)", strings.Join(p.names, ", "),
			baseName(first.path(p)), first.text(p))),
		Request: requestFor(p, newKey)})
	return repaired.and(outcome{finding: found})
}

// requestFor returns the request for a certificate, for the staged key or for the installed one.
func requestFor(p *pair, staged bool) *Request {
	return &Request{Pair: p.is, Staged: staged, Name: p.name, AltNames: p.cfg.Host.AltNames, Days: p.cfg.Validity.Days}
}

// complaints returns the needs of a pair as problems. A hint is given only where the plan does not repair them.
func complaints(p *pair, wanted []need, repaired bool) []Problem {
	var f finding
	for _, n := range wanted {
		pr := Problem{Reason: n.reason, Severity: n.severity, Path: n.path(p), Text: n.text(p), Repairable: repaired}
		if n.hint != nil && !repaired {
			pr.Hint = n.hint(p)
		}
		switch n.reason {
		case KeyUnusable:
			pr = convertible(pr, p.keyFile.Key.Err, true)
		case CertUnusable:
			pr = convertible(pr, p.certFile.File.Err, true)
		}
		f.report(pr)
	}
	return f.problems
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
func interim(p *pair, newKey bool, why Reason) outcome {
	var out outcome
	if newKey {
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

// bridges reports whether an interim certificate is better than none until the need is met: where sendmail would
// otherwise not offer STARTTLS, or the present interim certificate ends or is for another name. A client delivers mail
// without one.
func bridges(p *pair, n need) bool {
	if p.is != certdir.Host && !(p.is == certdir.HostECDSA && namesPair(p.cf(), p.obs.Certs, p.is)) {
		return false
	}
	return n.broken ||
		p.owner == Interim && (p.isDue(p.leaf) || p.at.Before(p.leaf.NotBefore) || !p.covers(p.leaf))
}
