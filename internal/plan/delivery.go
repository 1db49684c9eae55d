package plan

import (
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// holding is whose content a file of the pair has.
type holding int

const (
	lacking holding = iota // missing, empty, or a dangling link
	own                    // made by us; a certificate also by the base system's stanza
	theirs                 // anything else, a half-written file included
)

func holds(n durable.Node, ours bool) holding {
	switch {
	case !n.Exists || n.Size == 0:
		return lacking
	case ours && n.Kind == durable.File:
		return own
	}
	return theirs
}

func (a *assessment) keyHolding() holding {
	return holds(a.obs.Certs.Key.Node, a.keyIsOurs())
}

func (a *assessment) certHolding() holding {
	return holds(a.obs.Certs.Cert.Node, a.owner.mine() || a.owner == Stanza)
}

// delivering says that, with issuer none, somebody's key or certificate lies
// there and is no whole pair yet: nobody but its owner can complete it, so
// nothing is put in its place. A stop-gap is made only where it replaces
// nothing of theirs: for a host.cert that is missing or empty, and for a
// host.key that is, unless their certificate waits for it.
func (a *assessment) delivering() bool {
	if a.cfg.Issuer.Kind != config.IssuerNone || a.keptForeign() || a.held() {
		return false
	}
	broken, newKey := false, false
	for _, n := range needs {
		if n.broken && n.applies(a) {
			broken, newKey = true, newKey || n.key
		}
	}
	key, cert := a.keyHolding(), a.certHolding()
	switch {
	case !broken, key != theirs && cert != theirs:
		return false
	case cert == lacking:
		return newKey && key == theirs
	}
	return true
}

// await gives the owner ten minutes from the last change, then calls what lies
// there an error, and leaves it alone in any case.
func (a *assessment) await(p *Plan) {
	until := a.unmatchedSince(p).Add(pairSettles)
	waiting := a.now.Before(until)
	if waiting {
		p.lookAt(until, "key and certificate are still no pair")
	}
	told := a.matches // such as a pair with a weak key: whole, and of no use
	for i := range p.Problems {
		pr := &p.Problems[i]
		if !slices.ContainsFunc(needs, func(n need) bool { return n.reason == pr.Reason }) {
			continue
		}
		pr.Mended = false
		pr.Hint = "issuer is none: copy a key and the certificate for it to host.key and host.cert; until then nothing is changed"
		told = told || pr.Reason == Mismatch
		if waiting && !a.matches {
			pr.Severity = Warning
			pr.Text += fmt.Sprintf("; somebody may be copying: left alone, looked at again on %s", day(until))
		}
	}
	if !told && !waiting {
		p.report(Problem{Reason: Mismatch, Severity: Error, Path: certPath(a),
			Text: fmt.Sprintf("host.key and host.cert are no pair since %s", day(until.Add(-pairSettles))),
			Hint: "issuer is none: only their owner can complete them"})
	}
}

// unmatchedSince is since when exactly these files have been no pair.
func (a *assessment) unmatchedSince(p *Plan) time.Time {
	id := SetID(a.obs.Certs)
	if p.State.Mismatch.Digest != id {
		p.State.Mismatch = state.Seen{Digest: id, Since: a.stamp()}
	}
	return p.State.Mismatch.Since
}
