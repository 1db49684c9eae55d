package plan

import (
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// rests is how long a file that a person may be writing must have been unchanged before the daemon replaces it: scp and
// a slow terminal write a certificate in pieces, and a rename over a half-written file would lose all of it.
const rests = time.Minute

// writtenNow reports whether one of the files changed less than a minute ago, and until when the daemon waits. A verb
// does not wait, because it runs once. A change time more than a minute in the future, as after a step of the clock, is
// ignored.
func (a *assessment) writtenNow(nodes ...durable.Node) (until time.Time, now bool) {
	if a.wish.Once {
		return time.Time{}, false
	}
	for _, n := range nodes {
		if !n.Exists || !n.IsRegular {
			continue
		}
		if age := a.now.Sub(n.Changed); age < rests && age > -rests && n.Changed.Add(rests).After(until) {
			until, now = n.Changed.Add(rests), true
		}
	}
	return until, now
}

// pairWritten reports that host.key or host.cert is empty, unusable or does not match the other, and was written less
// than a minute ago: a person may still be copying it. A missing file is not waited for.
func pairWritten(p *pair) (found finding, now bool) {
	var nodes []durable.Node
	if p.keyUnusable() {
		nodes = append(nodes, p.keyFile.Node)
	}
	if p.certUnusable() {
		nodes = append(nodes, p.certFile.Node)
	}
	if p.leaf != nil && p.key != nil && !p.matches {
		nodes = append(nodes, p.keyFile.Node, p.certFile.Node)
	}
	until, now := p.writtenNow(nodes...)
	if now {
		found = leaveAlone(until, nodes...)
	}
	return found, now
}

// leaveAlone reports files that are left unchanged for now, and sets the next look to the end of the wait.
func leaveAlone(until time.Time, nodes ...durable.Node) (found finding) {
	found.lookAt(until, "a file has not changed for a minute")
	for _, n := range nodes {
		// The text holds no time: the log prints each text once, and a copy may change the file every moment.
		found.report(Problem{Reason: BeingWritten, Severity: Warning, Path: n.Path,
			Text: "was written less than a minute ago: somebody may still be copying it, so it is left alone until " +
				"it has not changed for a minute",
			Hint: "finish the copy; if the file does not change again, mailcertd waits until " +
				n.Changed.Add(rests).UTC().Format("15:04:05 UTC") + "; to replace it now, run `mailcertd ensure`"})
		found.alone = append(found.alone, n.Path)
	}
	return found
}

// bundleWritten reports that cacert.pem is a person's and was written less than a minute ago. Even a bundle that loads
// may be the first part of a longer one.
func bundleWritten(a *assessment) (found finding, now bool) {
	e := a.obs.Certs.CA
	if a.fileIsOurs(e.Digest) || e.Node.Kind == durable.Link && e.File.Err == nil {
		return found, false // a link to a bundle that loads is kept
	}
	until, now := a.writtenNow(e.Node)
	if now {
		found = leaveAlone(until, e.Node)
	}
	return found, now
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
