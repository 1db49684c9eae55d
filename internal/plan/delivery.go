package plan

import (
	"fmt"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
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

func (p *pair) keyHolding() holding {
	return holds(p.keyFile.Node, p.keyIsOurs())
}

func (p *pair) certHolding() holding {
	return holds(p.certFile.Node, p.owner.mine() || p.owner == Stanza)
}

// delivering says that, with issuer none, a person's key or certificate is there and is no whole pair yet: nobody but
// its owner can complete it, so nothing is put in its place. An interim certificate is made only where it replaces
// nothing of theirs: for a host.cert that is missing or empty, and for a host.key that is, unless their certificate
// waits for it.
func (p *pair) delivering() bool {
	if p.cfg.Issuer.Kind != config.IssuerNone || p.keptForeign() || p.held() {
		return false
	}
	broken, newKey := false, false
	for _, n := range needs {
		if n.broken && n.applies(p) {
			broken, newKey = true, newKey || n.key
		}
	}
	key, cert := p.keyHolding(), p.certHolding()
	switch {
	case !broken, key != theirs && cert != theirs:
		return false
	case cert == lacking:
		return newKey && key == theirs
	}
	return true
}

// await gives the owner ten minutes from the last change, then calls what is there an error, and leaves it alone in any
// case.
func await(p *pair, wanted []need) (out outcome) {
	since := p.unmatched()
	out.unmatched(p.is.Name, since)
	until := since.Since.Add(pairSettles)
	waiting := p.now.Before(until)
	if waiting {
		out.lookAt(until, "key and certificate still do not match")
	}
	told := p.matches // such as a pair with a weak key: whole, and of no use
	for _, pr := range complaints(p, wanted, false) {
		pr.Hint = fmt.Sprintf(
			"issuer is none: copy a key and the certificate for it to %s and %s; until then nothing is changed",
			p.is.KeyFile, p.is.CertFile)
		told = told || pr.Reason == Mismatch
		if waiting && !p.matches {
			pr.Severity = Warning
			pr.Text += fmt.Sprintf("; somebody may be copying, so mailcertd checks again on %s", day(until))
		}
		out.report(pr)
	}
	if !told && !waiting {
		out.report(Problem{Reason: Mismatch, Severity: Error, Path: certPath(p),
			Text: fmt.Sprintf("%s and %s have not matched since %s", p.is.KeyFile, p.is.CertFile, day(since.Since)),
			Hint: "issuer is none: install a matching pair with `mailcertd install FILE`"})
	}
	return out
}
