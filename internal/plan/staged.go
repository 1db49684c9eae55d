package plan

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// StagedKey is a new key, stored beside the one in use.
type StagedKey struct {
	Key pki.KeyFile // Public nil when there is none, or it could not be read
	Err error       // why it could not be read
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

// finishStaged handles a staged key that no present need explains. If a certificate for it exists, a crash interrupted
// a renewal, which is completed; otherwise the key is deleted.
func finishStaged(p *pair) (out outcome) {
	if p.is.Server() && p.tlsa.Under(p.is.Name) {
		return inAdvance(p)
	}
	if !slices.Contains(p.obs.Pending.Staged, p.is.KeyFile) {
		return out
	}
	if unread, is := stagedUnread(p); is {
		return outcome{finding: unread}
	}
	if p.is.Server() && p.tlsa.NeverAsked() { // after the state was lost, its record may be in the DNS
		return out
	}
	staged := p.staged.Public
	if until, asked := p.waitsForAnswer(staged); asked {
		out.lookAt(until, "mailcertd stops waiting for the answer to a request")
		return out
	}
	if staged != nil && p.owner.mine() && !p.held() && p.maySign() && !stagedTwin(p) &&
		!p.tlsa.GaveUp(pki.KeyFingerprint(staged)) {
		if is := p.candidate(staged, AskedKey); is != nil {
			out.report(Problem{Reason: Unfinished, Severity: Warning, Path: keyPath(p), Repairable: true,
				Text: "a renewal with a new key was interrupted after its certificate was issued"})
			out.change = leafChange(p, is, true, Unfinished)
			return out
		}
	}
	out.do(unstage(p))
	return out
}

// inAdvance makes the next key of a pair whose TLSA record has to be in the DNS first, and keeps it.
func inAdvance(p *pair) (out outcome) {
	unread, is := stagedUnread(p)
	switch {
	case is:
		return outcome{finding: unread}
	case stagedTwin(p):
		out.do(unstage(p))
	case p.staged.Public == nil && p.maySign() && !p.keptForeign():
		out.do(stageKey(p, tlsaReasons[p.tlsa.Memory.Changes[p.is.Name].Why]))
	}
	return out
}

// unstage deletes a staged key.
func unstage(p *pair) Action {
	return Action{Kind: Unstage, Reason: Unfinished, Path: p.is.KeyFile,
		Text: toDelete.With("a prepared key that is not needed")}
}

// stagedUnread reports a staged key that cannot be read. It may be the only copy of a key for which a certificate was
// issued, so it is neither replaced nor deleted.
func stagedUnread(p *pair) (found finding, is bool) {
	if p.stagedErr == nil {
		return found, false
	}
	found.report(Problem{Reason: Unreadable, Severity: Error, Path: p.obs.Certs.Path + "/" + certdir.StagingDir + "/" +
		p.is.KeyFile,
		Text: "this key for the next certificate cannot be read, so it is left as it is: " + p.stagedErr.Error(),
		Hint: "check the disk; if the file is lost, remove it"})
	return found, true
}

// waitsForAnswer reports whether a request over the staged key is under way, and until when its answer is waited for.
func (p *pair) waitsForAnswer(staged crypto.PublicKey) (until time.Time, out bool) {
	m := p.remembered()
	if staged == nil || m.Key == "" || m.Key != pki.KeyFingerprint(staged) {
		return time.Time{}, false
	}
	return m.At, p.now.Before(m.At)
}

// requestLasts is how long a staged key waits for the answer to its request.
const requestLasts = 15 * time.Minute

// Requested is what the state remembers of a pair when a request over this staged key is under way, so that the key is
// kept for lasts; zero is a quarter of an hour.
func Requested(before state.Pair, key crypto.PublicKey, now time.Time, lasts time.Duration) state.Pair {
	if lasts <= 0 {
		lasts = requestLasts
	}
	before.Key, before.At = pki.KeyFingerprint(key), now.UTC().Truncate(time.Second).Add(lasts)
	return before
}
