package plan

import (
	"fmt"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
)

// holding says who made the content of a pair's file.
type holding int

const (
	lacking holding = iota // missing, empty, or a dangling link
	own                    // made by us, or a certificate of the base system's stanza
	theirs                 // anything else, also a half-written file
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

// delivering reports that, with `issuer: none`, a person's key or certificate is installed without its counterpart.
// Only its owner can complete the pair, so nothing of theirs is replaced. An interim certificate is made only where it
// replaces nothing of theirs: for a missing or empty host.cert, and for a missing or empty host.key unless their
// certificate waits for it.
func (p *pair) delivering() bool {
	if p.issuer.Kind != config.IssuerNone || p.keptForeign() || p.held() || p.placeholder() {
		return false
	}
	broken, newKey := false, false
	for _, n := range needs {
		if n.broken && n.applies(p) {
			broken, newKey = true, newKey || n.key
		}
	}
	key := holds(p.keyFile.Node, p.keyIsOurs())
	cert := holds(p.certFile.Node, p.owner.mine() || p.owner == Stanza)
	switch {
	case !broken, key != theirs && cert != theirs:
		return false
	case cert == lacking:
		return newKey && key == theirs
	}
	return true
}

// await gives the owner ten minutes from the last change and then reports an error. It changes no file in either case.
func await(p *pair, wanted []need) (out outcome) {
	since := unmatchedSince(p)
	out.unmatched(p.is.Name, since)
	until := since.Since.Add(pairSettles)
	waiting := p.now.Before(until)
	if waiting {
		out.lookAt(until, "key and certificate still do not match")
	}
	told := p.matches // for example a matching pair with a weak key
	for _, pr := range complaints(p, wanted, false) {
		if pr.Hint != "" { // the file is here, in another form
			pr.Hint += "; issuer is none: until then nothing is changed"
		} else {
			pr.Hint = fmt.Sprintf(
				"issuer is none: copy a key and the certificate for it to %s and %s; until then nothing is changed",
				p.is.KeyFile, p.is.CertFile)
		}
		told = told || pr.Reason == Mismatch
		if waiting && !p.matches {
			pr.Severity = Warning
			pr.Text += fmt.Sprintf("; somebody may be copying, so mailcertd checks again on %s", moment(until))
		}
		out.report(pr)
	}
	if !told && !waiting {
		out.report(Problem{Reason: Mismatch, Severity: Error, Path: certPath(p),
			Text: fmt.Sprintf("%s and %s have not matched since %s", p.is.KeyFile, p.is.CertFile, moment(since.Since)),
			Hint: "issuer is none: install a matching pair with `mailcertd install FILE`"})
	}
	return out
}
