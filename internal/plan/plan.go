// Package plan decides. Make is a pure function from the configuration, the observed values and the time to an ordered
// list of actions, all problems, and the time of the next look. It does no I/O, reads no clock, draws no random numbers
// and logs nothing.
package plan

import (
	"crypto/x509"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// Wish is what a person asked for with a verb. It names the certificate that it replaces, so that a look at the disk
// shows whether it is fulfilled.
type Wish struct {
	Renew bool   // a new certificate, due or not
	Rekey bool   // with a new key
	Force bool   // also over a foreign set
	From  string // Leaf ID of the certificate to be replaced, "" for none
	// FromKey is the Key ID (pki.KeyFingerprint) of the key to be replaced, "" for none.
	FromKey string
	// Others are the same for the other pairs, by their names; a pair without an entry is not replaced.
	Others map[string]Replaced
	// TrustClock says that the clock is right, whatever time was seen before.
	TrustClock bool
	// MakeCA asks for a CA although a foreign set makes none necessary (`ca init`).
	MakeCA bool
	// Rollover asks for the CA's next generation, due or not, in place of the one
	// whose pki.Fingerprint is RolloverFrom.
	Rollover     bool
	RolloverFrom string
	// Promote puts the waiting generation in force, even if a member does not trust it yet.
	Promote bool
	// Group is the RFC 7919 group that a person chose for dh.param, "" for none.
	Group string
	// Once is set by verbs, which run once: they repair a pair that does not match at once, and do not wait ten
	// minutes.
	Once bool
}

// Host is what the system and its rc.conf say of this host.
type Host struct {
	RC string // rc.conf's sendmail_cert_cn, "" when unset
	// RCErr is why rc.conf could not be read now: RC and Sendmail then hold its earlier values.
	RCErr error
	// Certified is the name in host.cert, "" for none: it is used where rc.conf was never read successfully.
	Certified string
	// Sendmail says how rc.conf starts sendmail.
	Sendmail mta.RC
	System   string // the system's host name
}

// Observed is everything that a look saw. It holds no secret.
type Observed struct {
	Certs   certdir.Dir
	Pending durable.Pending // an unfinished change in the certs directory
	Staged  pki.KeyFile     // a staged host.key; Public nil when there is none
	// StagedErr is why a staged host.key could not be read; nil also where no key is staged.
	StagedErr error
	// OtherStaged are the staged keys of the other pairs, by the pairs' names.
	OtherStaged map[string]StagedKey
	CA          ca.Observed
	State       state.State
	Loaded      state.Loaded
	// FailedNow has the failure keys of this run; an action that failed is not retried in it.
	FailedNow map[string]bool
	Archive   []durable.Backup // newest first
	// ArchiveErr is why the archive could not be listed; nil: Archive is all of it.
	ArchiveErr error
	// Leftovers are unused files and folders in directories of ours.
	Leftovers []Leftover
	// LeftoversErr is why Leftovers may be incomplete; nil: it is complete.
	LeftoversErr error
	Trust        []TrustSource // what `trust:` names, in its order
	// StateDir is the state directory itself.
	StateDir durable.Node
	// StateErr is why the state cannot be written; nil: it can be, as far as is known.
	StateErr error
	CF       mta.CF // the configured sendmail.cf
	// RunningCF is the cf that the running sendmail's command line names (-C); nil: it uses the configured one.
	RunningCF *mta.CF
	// Submit is submit.cf beside the sendmail.cf that counts; nil: there is none.
	Submit *mta.CF
	MTA    mta.Identity
	Accept Acceptance // what mta.Judge needs to know about the system's sendmail
	Host   Host
	Build  time.Time // when this program was built; zero: unknown
	Root   bool      // the process may change owners
	// Passphrase is what is known of the CA key's passphrase.
	Passphrase Passphrase
	Inbox      inbox.Box
	Account    Account
	// Reply is the last answer of the CA on another host; Status "" where there is none.
	Reply    issuer.Reply
	ReplyErr error // why the last answer cannot be read
	// OtherReplies are the last answers with certificates for the other pairs, by their names.
	OtherReplies map[string]issuer.Reply
	// Accepted are the CA certificates of the other host that this one trusts.
	Accepted []*x509.Certificate
	// AcceptedErr is why Accepted could not be read.
	AcceptedErr error
	// Orders are the last answers of an ACME CA, by the names of the pairs; OrderErrs says why one cannot be read.
	Orders    map[string]issuer.Reply
	OrderErrs map[string]error
	// AtCA is what is known of the account at the ACME CA.
	AtCA CAAccount
}

// CAAccount is the account at an ACME CA, for reports.
type CAAccount struct {
	URL     string // "": there is none yet
	Profile string // what the last order asked for; "": what the CA chooses
}

// StagedKey is a new key, stored beside the one in use.
type StagedKey struct {
	Key pki.KeyFile // Public nil when there is none
	Err error       // why it could not be read; nil also where no key is staged
}

// StagedOf is the staged key of a pair.
func (o Observed) StagedOf(p certdir.Pair) StagedKey {
	if p == certdir.Host {
		return StagedKey{o.Staged, o.StagedErr}
	}
	return o.OtherStaged[p.Name]
}

// SetStaged notes the staged key of a pair.
func (o *Observed) SetStaged(p certdir.Pair, k StagedKey) {
	if p == certdir.Host {
		o.Staged, o.StagedErr = k.Key, k.Err
		return
	}
	if o.OtherStaged == nil {
		o.OtherStaged = map[string]StagedKey{}
	}
	o.OtherStaged[p.Name] = k
}

// Passphrase says whether the passphrase of the CA's key is available. It never holds the passphrase.
type Passphrase struct {
	Path    string // ca.passphrase_file, or ""
	Ready   bool   // it is there and opens the key
	Problem string // why it cannot be used; "" when it can or none is configured
}

// Account is the unprivileged user that members log in as.
type Account struct {
	Name    string
	Missing bool
	GID     int // its group; -1: unknown, or not looked up
}

// Acceptance is what is needed to ask mta.Judge about any set of files.
type Acceptance struct {
	Root     bool      // sendmail runs as root: directories are checked too
	OwnersOK []uint32  // uids that may own the files: root, RunAsUser, TrustedUser
	Now      time.Time // OpenSSL prefers an issuer that is valid at this time
	// Libssl is the OpenSSL that sendmail is linked with, with the lowest security level in use: what a higher level
	// refuses is only a warning.
	Libssl pki.Libssl
}

// Plan is the decision.
type Plan struct {
	Actions  []Action
	Problems []Problem // worst first
	// State is the new state; it is written when it differs from the observed one.
	State state.State
	// Ask is the question to put to the CA on another host, or to an ACME CA; nil: none.
	Ask *Ask
	// Rejected is why the certificate that the CA on another host has just sent cannot be used; "": it can be, or none
	// was sent.
	Rejected string
	// Next is the latest time of the next look, and NextWhat its purpose; zero: no look is due.
	Next     time.Time
	NextWhat string
	// At is the believed time, by which apply signs. notBefore is Backdate before it.
	At       time.Time
	Backdate time.Duration
	// Facts are for `status`. They come from the decision and are not decided again.
	Facts Facts
}

// Facts are the observations on which the decision is based, for reports.
type Facts struct {
	Name      string    // the host name that is to be certified, "" when unusable
	Owner     Owner     // whose certificate is installed
	Due       time.Time // when the installed certificate is renewed; zero: mailcertd does not renew it
	Offered   bool      // sendmail would offer STARTTLS with these files
	Works     bool      // Offered, and key and certificate match: sendmail may get a HUP
	Verdict   mta.Verdict
	NamesOurs bool   // sendmail.cf names our files
	Set       string // digest of what sendmail reads at start
	LeafID    string // SHA-256 of the installed leaf's DER, hex; "" for none
	// Renewed is the LeafID that a renewal replaces: the installed leaf, or the one that is restored in its place; ""
	// for none.
	Renewed string
	Pairs   []PairFacts // of every pair that is wanted or there, the host's own first
	KeyID   string      // SHA-256 of the installed key's SubjectPublicKeyInfo, hex; "" for none
}

// Empty reports whether there is nothing to do now.
func (p Plan) Empty() bool { return len(p.Actions) == 0 }

// Worst is the highest severity among the problems that the plan does not repair; Notice when there is none.
func (p Plan) Worst() Severity {
	worst := Notice
	for _, pr := range p.Problems {
		if !pr.Repairable && pr.Severity > worst {
			worst = pr.Severity
		}
	}
	return worst
}

// Make decides. Each section returns what it found and changes nothing; Make passes it on to the sections that need it.
func Make(cfg config.Config, obs Observed, wish Wish, now time.Time) Plan {
	obs.State = withinReach(obs.State, now)
	a := assess(cfg, obs, wish, now)
	if found, unfinished := recovery(a); unfinished { // an unfinished change comes alone: half a set cannot be judged
		return a.plan(dueNow(a, found), obs.State.Clone())
	}
	found := stateProblems(a).
		and(clockProblems(a)).
		and(nameProblems(a)).
		and(cfProblems(a)).
		and(shownElsewhere(a)).
		and(submission(a)).
		and(directories(a)).
		and(modes(a)).
		and(exposed(a)).
		and(issuing(a))
	certs := set(a, found)
	found = found.and(certs.finding)
	for _, by := range a.issuers {
		found = found.and(askDaily(a, by, found)).and(poll(a, by, found))
	}
	told, over := pickup(a, found)
	found = found.and(told)
	kept, oldKeys := housekeeping(a, found, over.Pickup == nil)
	found = found.and(kept).
		and(leftovers(a, found)).
		and(expiries(a, found)).
		and(refused(a, found))

	st := obs.State.Clone()
	st.HighWater, st.Clock = a.mark, a.doubt
	st.Name = nameSeen(a)
	for _, p := range a.pairs {
		if id, learned := learnedAsOurs(p); learned {
			st.AddOurs(id, "cert", now, Lying(obs.Certs)...)
		}
	}
	for name, seen := range certs.mismatch {
		of := st.Pair(name)
		of.Mismatch = seen
		st.SetPair(name, of)
	}
	st.Pickup, st.PickedUp = over.Pickup, over.PickedUp
	st.Notify, st.Notified = over.Notify, over.Notified
	st.Failures = failures(st.Failures, found.actions)
	for _, failure := range certs.obtained {
		delete(st.Failures, failure)
	}
	st.OldKeys, st.Ours = ages(a, oldKeys, st.Ours)
	return a.plan(dueNow(a, found), st)
}

// once removes problems that another one explains. An expired certificate also expires soon and is due; where a
// directory is in the way, sendmail also misses the file.
func once(problems []Problem) []Problem {
	said := func(pr Problem, by ...Reason) bool {
		return slices.ContainsFunc(problems, func(o Problem) bool {
			return o.Path == pr.Path && slices.Contains(by, o.Reason)
		})
	}
	return slices.DeleteFunc(slices.Clone(problems), func(pr Problem) bool {
		switch pr.Reason {
		case Expiring:
			return said(pr, Expired)
		case Due:
			return said(pr, Expired, Expiring)
		case Refused:
			return said(pr, InTheWay) || said(Problem{Path: filepath.Dir(pr.Path)}, InTheWay)
		}
		return false
	})
}

// plan completes the decision: the actions in order, the problems, and the new state.
func (a *assessment) plan(found finding, st state.State) Plan {
	p := Plan{Actions: found.actions, Problems: once(found.problems), Ask: found.ask,
		Rejected: found.rejected, State: st,
		Next: found.next, NextWhat: found.nextWhat, At: a.at, Backdate: a.backdate(), Facts: facts(a)}
	if a.clock != clockFine && !p.Next.IsZero() && p.Next.Before(a.now) {
		// What this clock alone calls due waits until the clock is believed.
		p.Next, p.NextWhat = a.now.Add(clockNoted), clockLooked
	}
	sort.SliceStable(p.Actions, func(i, j int) bool { return p.Actions[i].order() < p.Actions[j].order() })
	sort.SliceStable(p.Problems, func(i, j int) bool { return p.Problems[i].Severity > p.Problems[j].Severity })
	return p
}
