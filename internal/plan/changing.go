package plan

import (
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
)

// rests is how long a file that a person may be writing must have been left alone before the daemon replaces it: scp
// and a slow terminal write a certificate in pieces, and what is renamed over a half-written file loses all of it.
const rests = time.Minute

// writtenNow says that one of the files changed less than a minute ago, and until when the daemon leaves them alone. A
// verb does not wait: nobody comes back in a minute. A change that is in the future by more than a minute, as after a
// step of the clock, says nothing.
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

// pairWritten says that host.key or host.cert is empty, unusable or no match of the other, and was written less than a
// minute ago: a person may be in the middle of copying it. A file that is missing is not waited for.
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

// leaveAlone tells that files are left as they are for now, and looks again when they have rested.
func leaveAlone(until time.Time, nodes ...durable.Node) (found finding) {
	found.lookAt(until, "a file is no longer being written")
	for _, n := range nodes {
		// The text has no time in it: the log tells a text once, and a copy may be written to every moment.
		found.report(Problem{Reason: BeingWritten, Severity: Warning, Path: n.Path,
			Text: "was written less than a minute ago: somebody may still be copying it, so it is left alone until " +
				"it has not changed for a minute",
			Hint: "that is until " + n.Changed.Add(rests).UTC().Format("15:04:05 UTC") +
				" by now; finish the copy, or run `mailcertd ensure` to replace it now"})
		found.alone = append(found.alone, n.Path)
	}
	return found
}

// bundleWritten says that cacert.pem is a person's and was written less than a minute ago. Also a bundle that loads may
// be the first part of a longer one.
func bundleWritten(a *assessment) (found finding, now bool) {
	e := a.obs.Certs.CA
	if a.fileIsOurs(e.Digest) || e.Node.Kind == durable.Link && e.File.Err == nil {
		return found, false // nothing is put in the place of a link to a bundle that loads
	}
	until, now := a.writtenNow(e.Node)
	if now {
		found = leaveAlone(until, e.Node)
	}
	return found, now
}

// Replaced is a file of a transaction as it was seen; false for files in trust/. It is looked at again right before
// the commit: what was copied to the archive and judged must be what is replaced.
func (d Observed) Replaced(name string) (durable.Node, bool) {
	_, ofSet := certdir.FileOf(name)
	n, _ := d.Certs.File(name)
	return n, ofSet
}
