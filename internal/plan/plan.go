// Package plan decides. Make is a pure function from the configuration, what
// was observed and the time to the ordered actions that make things right,
// every problem there is, and the time to look again. It does no I/O, reads no
// clock, draws no random numbers and logs nothing.
package plan

import (
	"crypto/x509"
	"io/fs"
	"math/big"
	"sort"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// Wish is what a person asked for, beyond what is due by itself. A wish names
// what it wants replaced, so that it is fulfilled by looking, not by counting.
type Wish struct {
	Renew bool   // a new certificate, due or not
	Rekey bool   // with a new key
	Force bool   // also over a foreign set
	From  string // Leaf ID of the certificate to be replaced, "" for none
	// FromKey is the Key ID (PublicID) of the key to be replaced, "" for none.
	FromKey string
	// TrustClock says that the clock is right, whatever was seen before.
	TrustClock bool
	// MakeCA asks for a CA although a foreign set makes none necessary (`ca init`).
	MakeCA bool
	// Rollover asks for the CA's next generation, due or not, in place of the one
	// whose ca.Fingerprint is RolloverFrom.
	Rollover     bool
	RolloverFrom string
	// Promote puts the waiting generation in force, whoever does not trust it yet.
	Promote bool
	// Group is the RFC 7919 group that somebody chose for dh.param, "" for none.
	Group string
	// Once is set by verbs: nobody comes back in ten minutes, so a pair that does
	// not match is mended at once.
	Once bool
}

// Host is what the system and its rc.conf say of this host.
type Host struct {
	RC string // rc.conf's sendmail_cert_cn, "" when unset
	// Sendmail is how rc.conf has sendmail run.
	Sendmail mta.RC
	System   string // the system's host name
}

// Observed is all that was seen. It holds no secret.
type Observed struct {
	Certs   certdir.Dir
	Pending durable.Pending // unfinished business in the certs directory
	Staged  pki.KeyFile     // a staged host.key; Public nil when there is none
	// StagedErr is why a staged host.key could not be read; nil also when there is none.
	StagedErr error
	CA        ca.Observed
	State     state.State
	Loaded    state.Loaded
	// FailedNow are the failure keys of what failed in this run: it is not tried twice.
	FailedNow map[string]bool
	Archive   []durable.Generation // newest first
	// ArchiveErr is why the archive could not be listed; nil: Archive is all of it.
	ArchiveErr error
	Trust      []TrustSource // what `trust:` names, in its order
	// StateDir is the state directory itself.
	StateDir durable.Node
	CF       mta.CF // the configured sendmail.cf
	// RunningCF is the cf of the running sendmail, where its command line names
	// another (-C); nil: the configured one.
	RunningCF *mta.CF
	// Submit is submit.cf beside the sendmail.cf that counts; nil: there is none.
	Submit *mta.CF
	MTA    mta.Identity
	Accept Acceptance // who judges: what the running system's sendmail would be
	Host   Host
	Build  time.Time // when this program was built; zero: unknown
	Root   bool      // the process may change owners
	// Passphrase is what is known of the CA key's passphrase.
	Passphrase Passphrase
	Inbox      issuer.Box
	Account    Account
	// Reply is what the CA on another host answered last; Status "" is nothing.
	Reply    issuer.Reply
	ReplyErr error // why the last answer cannot be read
	// Accepted are the CA certificates of the other host that this one trusts.
	Accepted []*x509.Certificate
}

// Passphrase is what is known of the passphrase of the CA's key; never the
// passphrase itself.
type Passphrase struct {
	Path    string // ca.passphrase_file, or ""
	Ready   bool   // it is there and opens the key
	Problem string // why it is not used, "" when all is well or none is configured
}

// Account is the unprivileged user that members log in as.
type Account struct {
	Name    string
	Missing bool
	GID     int // its group; -1: unknown, or not looked up
}

// Acceptance is what is needed to ask mta.Judge about any set of files.
type Acceptance struct {
	Root     bool     // sendmail runs as root: directories are checked too
	OwnersOK []uint32 // uids that may own the files: root, RunAsUser, TrustedUser
	// Libssl is the OpenSSL that sendmail is linked with. Its level is the lowest
	// that is in use: what a higher one refuses is a warning.
	Libssl pki.Libssl
}

// Severity orders problems.
type Severity int

// The severities. A plan with nothing above Warning exits 0.
const (
	Notice  Severity = iota // worth knowing
	Warning                 // needs attention some day
	Error                   // something is to be done, or failed
)

func (s Severity) String() string { return [...]string{"notice", "warning", "error"}[s] }

// MarshalText gives the word for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is not as it should be.
type Problem struct {
	Reason   Reason   `json:"reason"`
	Severity Severity `json:"severity"`
	Path     string   `json:"path,omitempty"` // the file concerned
	Text     string   `json:"text"`           // what is wrong, with want and got
	Hint     string   `json:"hint,omitempty"` // what a person can do
	Mended   bool     `json:"mended"`         // an action of the same plan mends it
}

// Kind is what an action does.
type Kind string

// The actions, in the order in which a plan lists them.
const (
	Recover      Kind = "recover"        // finish an interrupted change in the certs directory; then look again
	MakeDir      Kind = "mkdir"          // make a directory
	Chmod        Kind = "chmod"          // set a mode
	Chown        Kind = "chown"          // give to root:wheel
	ReconcileCA  Kind = "reconcile-ca"   // mend the openssl database
	InitCA       Kind = "make-ca"        // make the CA, or finish making it
	NextCA       Kind = "next-ca"        // start the next generation of the CA
	PruneCA      Kind = "prune-ca"       // remove an ended generation
	Unstage      Kind = "unstage"        // delete a staged key that nobody wants any more
	StageKey     Kind = "stage-key"      // make a new host key, durably, beside the old one
	Obtain       Kind = "obtain"         // ask the issuer for a certificate; then look again
	Install      Kind = "install"        // the transaction: files and links change together
	PruneArchive Kind = "prune-archive"  // drop archived generations of our own
	DeleteOldKey Kind = "delete-old-key" // delete a replaced key of our own
	PromoteCA    Kind = "promote-ca"     // put the waiting generation in force
	WriteCRL     Kind = "write-crl"      // make the CA's revocation lists anew
	MakeInbox    Kind = "make-inbox"     // the directories for requests of enrolled hosts
	Answer       Kind = "answer"         // answer the requests in the inbox
	AcceptCA     Kind = "accept-ca"      // take over CA certificates of the other host
)

// Action is one step. Only the fields that its Kind needs are set.
type Action struct {
	Kind    Kind        `json:"kind"`
	Reason  Reason      `json:"reason"`
	Text    string      `json:"text"` // for people: what and why
	Path    string      `json:"path,omitempty"`
	Mode    fs.FileMode `json:"-"`
	KeyType pki.KeyType `json:"-"`
	Request *Request    `json:"-"`
	Change  *Change     `json:"-"`
	ID      string      `json:"-"` // PruneArchive, DeleteOldKey: the generation
	// Extra marks an Install of what sendmail can do without: files in trust/ and their links, and the CRL.
	Extra bool `json:"-"`
	// Hold is why Answer signs nothing now; "": it signs.
	Hold string `json:"-"`
	// Certs are what AcceptCA takes over, the one in force first.
	Certs []*x509.Certificate `json:"-"`
}

// Ask is a question for the CA on another host. It is put without the lock,
// and its answer is an arrival like any file.
type Ask struct {
	Reason Reason
	Text   string
	// Request is the certificate that is wanted; nil: the trust set alone.
	Request *Request
	Renew   *big.Int // the serial that it is to replace; nil: none
	Trusts  []string // ca.Fingerprint of each CA certificate in cacert.pem
}

// Request is what the issuer is asked for.
type Request struct {
	Staged   bool // over the staged key; else over the installed one
	Name     string
	AltNames []string
	Days     int
}

// Source says where the content of an installed file comes from.
type Source int

// The sources.
const (
	FromData     Source = iota // Install.Data
	FromStaging                // staged already (a new key)
	FromStripped               // the installed key without the certificates in it
	FromSelf                   // a self-signed stop-gap over the key
)

// File is one file of a transaction.
type File struct {
	Name   string // host.key, host.cert, cacert.pem, dh.param, trust/…
	Mode   fs.FileMode
	Source Source
	Data   []byte // FromData: public content
	Reason Reason
}

// Change is one transaction in the certs directory.
type Change struct {
	Files   []File
	Links   []certdir.LinkChange
	Drop    []string // files of ours that go, such as a stale CRL
	Archive []Archived
	// Remove are files in trust/ that hold exactly the certificate after which
	// they are called, see OwnTrust. They go after their links.
	Remove []string
	// Interim is the name for which FromSelf signs itself.
	Interim *Request
	// StagedKey is true when the key of the new set is the staged one.
	StagedKey bool
	// Extra is true when sendmail can do without all of it.
	Extra bool
	// Pickup is false when sendmail reads nothing of it at start (links alone).
	Pickup bool

	bundleRests bool // cacert.pem is being written: no link is judged by what it holds now
}

// Archived is a file that is replaced or removed and is copied first.
type Archived struct {
	Name    string
	Foreign bool // not made by us: the copy is never pruned
	Secret  bool
}

// Plan is the decision.
type Plan struct {
	Actions  []Action
	Problems []Problem // worst first
	// State is what is to be remembered; written when it differs from what was observed.
	State state.State
	// Ask is to be put to the CA on another host; nil: nothing.
	Ask *Ask
	// Next is when to look again at the latest, and NextWhat why; zero: nothing is due.
	Next     time.Time
	NextWhat string
	// Facts for `status`; they repeat no decision.
	Facts Facts

	rests   func(Action) bool // an attempt failed, and the next is not due
	resting []Action          // what was left out because of that
	wanted  map[string]bool   // the failure keys of all that is to be done, left out or not
}

// Facts is what the decision rests on, for reports.
type Facts struct {
	Name      string    // the host name that is to be certified, "" when unusable
	Owner     Owner     // whose certificate is installed
	Due       time.Time // when the installed certificate is renewed; zero: never by us
	Offered   bool      // sendmail would offer STARTTLS with these files
	Verdict   mta.Verdict
	NamesOurs bool   // sendmail.cf names our files
	Set       string // digest of what sendmail reads at start
	LeafID    string // SHA-256 of the installed leaf's DER, hex; "" for none
	KeyID     string // SHA-256 of the installed key's SubjectPublicKeyInfo, hex; "" for none
}

// Empty says that nothing is to be done now.
func (p Plan) Empty() bool { return len(p.Actions) == 0 }

// Worst is the highest severity of a problem that the plan does not mend, and
// Notice when there is none.
func (p Plan) Worst() Severity {
	worst := Notice
	for _, pr := range p.Problems {
		if !pr.Mended && pr.Severity > worst {
			worst = pr.Severity
		}
	}
	return worst
}

// Make decides.
func Make(cfg config.Config, obs Observed, wish Wish, now time.Time) Plan {
	a := assess(cfg, obs, wish, now)
	p := &Plan{State: obs.State.Clone(), wanted: map[string]bool{}}
	p.rests = func(act Action) bool { _, rests := a.resting(act); return rests }
	if a.recover(p) { // an unfinished change comes first and alone: everything else would be decided on half a set
		a.finish(p)
		return *p
	}
	a.stateProblems(p)
	a.clockProblems(p)
	a.nameProblems(p)
	a.cfProblems(p)
	a.submission(p)
	a.directories(p)
	a.modes(p)
	a.authority(p)
	a.member(p)
	a.set(p)
	a.askDaily(p)
	a.pickup(p)
	a.housekeeping(p)
	a.expiry(p)
	a.refused(p)
	a.leaveOut(p)
	a.finish(p)
	return *p
}

func (a *assessment) finish(p *Plan) {
	p.Facts = a.facts()
	sort.SliceStable(p.Actions, func(i, j int) bool { return p.Actions[i].order() < p.Actions[j].order() })
	sort.SliceStable(p.Problems, func(i, j int) bool { return p.Problems[i].Severity > p.Problems[j].Severity })
}

// do adds an action, unless it failed and is not due again.
func (p *Plan) do(a Action) {
	p.wanted[a.FailureKey()] = true
	if p.rests(a) {
		p.resting = append(p.resting, a)
		return
	}
	p.Actions = append(p.Actions, a)
}

func (p *Plan) report(pr Problem) { p.Problems = append(p.Problems, pr) }
func (p *Plan) has(k Kind) bool {
	for _, a := range p.Actions {
		if a.Kind == k && !a.Extra {
			return true
		}
	}
	return false
}

// lookAt moves the time of the next look forward to t.
func (p *Plan) lookAt(t time.Time, what string) {
	if t.IsZero() || (!p.Next.IsZero() && !t.Before(p.Next)) {
		return
	}
	p.Next, p.NextWhat = t, what
}
