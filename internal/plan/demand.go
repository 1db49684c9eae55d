package plan

import (
	"crypto"
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
)

// demand is a pair that needs another certificate.
type demand struct {
	*pair
	all    []need // the most important first
	first  need   // the first of them gives the reason of the actions
	newKey bool   // one of them asks for a new key too
}

func demandOf(p *pair, needs []need) demand {
	return demand{pair: p, all: needs, first: needs[0],
		newKey: slices.ContainsFunc(needs, func(n need) bool { return n.key })}
}

// nextKey is the key that the certificate is for: the staged one where a new key is needed; nil while it is not made.
func (d demand) nextKey() crypto.PublicKey {
	if d.newKey {
		return d.staged.Public
	}
	return d.key
}

// met reports the needs as repaired by the plan.
func (d demand) met() outcome {
	return outcome{finding: finding{problems: complaints(d.pair, d.all, true)}}
}

// unmet reports the needs that this plan does not repair. hint is for the first one where no other says what to do.
func (d demand) unmet(hint string) outcome {
	problems := complaints(d.pair, d.all, false)
	for i, pr := range problems {
		if pr.Reason == d.first.reason && pr.Hint == "" {
			problems[i].Hint = hint
		}
	}
	return outcome{finding: finding{problems: problems}}
}

// renewal decides about a pair that mailcertd may replace. It waits for a person who is copying files and for a clock
// that is believed, and otherwise gets the certificate that the pair needs.
func renewal(p *pair, sofar finding) outcome {
	wanted := p.needs()
	if len(wanted) == 0 {
		out := finishStaged(p)
		if !p.issuer.remote() {
			out.obtained = []string{ObtainFailureOf(p.is), FallbackFailure(p.is)}
		}
		return out
	}
	if p.delivering() {
		return await(p, wanted)
	}
	d := demandOf(p, wanted)
	if being, now := pairWritten(p); now && d.first.broken {
		return d.unmet("").and(outcome{finding: being})
	}
	if !p.maySign() {
		if d.first.reason == NotYetValid && p.olderServes() {
			if is := p.candidate(p.key, NotYetValid); is != nil {
				return d.met().and(outcome{change: leafChange(p, is, false, NotYetValid)})
			}
		}
		return d.unmet("") // the problem about the clock says why
	}
	var noted outcome
	if d.first.broken {
		waits, since := waitsForPair(p)
		noted.unmatched(p.is.Name, since)
		if waits {
			noted.lookAt(since.Since.Add(pairSettles), "key and certificate still do not match")
			return d.unmet("").and(noted)
		}
	} else if p.name == "" {
		return d.unmet("") // the problem about the host name says why
	}
	return noted.and(obtain(d, sofar))
}

// obtain installs a certificate that exists already, asks the CA host or the ACME CA for one, or lets the private CA on
// this host issue one.
func obtain(d demand, sofar finding) outcome {
	if unread, is := stagedUnread(d.pair); is && d.newKey {
		return d.unmet("").and(outcome{finding: unread})
	}
	if d.newKey && stagedTwin(d.pair) {
		out := d.unmet("")
		out.do(unstage(d.pair))
		return out
	}
	if is := d.candidate(d.nextKey(), d.first.reason); is != nil {
		return d.met().and(outcome{change: leafChange(d.pair, is, d.newKey, d.first.reason)})
	}
	if !d.issuer.remote() && !d.issuer.acme() {
		return issue(d, sofar)
	}
	out := request(d, sofar)
	if d.owner == Interim {
		at := out.next
		if out.ask != nil {
			at = d.now
		}
		out.asked(d.is.Name, at)
	}
	return out
}

// issue lets the private CA on this host issue the certificate. Where it cannot, an interim certificate is installed if
// sendmail would otherwise offer no STARTTLS.
func issue(d demand, sofar finding) outcome {
	can, found := obtainable(d.pair, sofar)
	switch {
	case !can && bridges(d):
		return d.met().and(outcome{finding: found}).and(interim(d))
	case !can && d.issuer.Kind == config.IssuerNone && d.is != certdir.Host:
		return d.unmet(byHand(d.pair)).and(outcome{finding: found})
	case !can:
		return d.unmet("").and(outcome{finding: found})
	}
	if d.newKey && d.staged.Public == nil {
		found.do(stageKey(d.pair, d.first.reason))
	}
	found.do(Action{Kind: Obtain, Reason: d.first.reason, Path: certPath(d.pair), Pair: d.is,
		Text: toIssue.With(fmt.Sprintf("a certificate for %s (%s: %s)", strings.Join(d.names, ", "),
			baseName(d.first.path(d.pair)), d.first.text(d.pair))),
		Request: requestFor(d.pair, d.newKey)})
	return d.met().and(outcome{finding: found})
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
		case KeyMissing, CertMissing:
			if p.placeholder() { // it is a step that was expected
				pr.Severity = Notice
			}
		case KeyUnusable:
			pr = convertible(pr, p.keyFile.Key.Err, true)
		case CertUnusable:
			pr = convertible(pr, p.certFile.File.Err, true)
		}
		f.report(pr)
	}
	return f.problems
}

// bridges reports whether an interim certificate is better than none until the demand is met: where sendmail would
// otherwise not offer STARTTLS, or the present interim certificate ends or is for another name. A client delivers mail
// without one.
func bridges(d demand) bool {
	p := d.pair
	if p.placeholder() { // sendmail serves the other pair
		return false
	}
	if p.is != certdir.Host && !(p.is == certdir.HostECDSA && namesPair(p.cf(), p.obs.Certs, p.is)) {
		return false
	}
	return d.first.broken ||
		p.owner == Interim && (p.isDue(p.leaf) || p.at.Before(p.leaf.NotBefore) || !p.covers(p.leaf))
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
