package plan

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/mta"
	"mailcertd/internal/state"
)

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
	// Staged are the staged keys, by the names of the pairs; a pair without one has no entry.
	Staged map[string]StagedKey
	CA     ca.Observed
	State  state.State
	Loaded state.Loaded
	// FailedNow has the failure keys of this run; an action that failed is not retried in it.
	FailedNow map[string]bool
	Backups   []durable.Backup // newest first
	// BackupsErr is why the backups could not be listed; nil: Backups is all of them.
	BackupsErr error
	// FormerBackups is the directory in which an older version has made backups; "" if there is none. Backups has them.
	FormerBackups string
	// Leftovers are unused files and folders in directories of ours.
	Leftovers []Leftover
	// LeftoversErr is why Leftovers may be incomplete; nil: it is complete.
	LeftoversErr error
	Trust        []TrustSource // what `trust:` names, in its order
	// StateDir is the state directory itself.
	StateDir durable.Node
	// StateInMemory names the memory file system that the state directory is on, where an ACME CA is asked; "": it is
	// on none, as far as is known.
	StateInMemory string
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
	// Asking says that a mailcertd asks the CA on another host now. It is found out only where a key is staged.
	Asking bool
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
	// ACMEFiles are the directory with the accounts at ACME CAs, and the files in it; nil: there is none. What could
	// not be examined has its Err.
	ACMEFiles []durable.Node
	// Traces are what an order at an ACME CA has left where others can see it, each in a few words.
	Traces []string
	// Access is the access map of CF; it is read only where an ACME CA is configured.
	Access mta.AccessMap
	// Daemon says whether a daemon runs, where a person asks.
	Daemon Daemon
	// Outlook is what a person who checks is told of the next order; nil: nobody has asked.
	Outlook *Outlook
}

// CAAccount is the account at an ACME CA, for reports.
type CAAccount struct {
	URL     string // "": there is none yet
	Profile string // what the last order asked for; "": what the CA chooses
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

// UsedCF is the sendmail.cf of the running sendmail, else the configured one.
func (o Observed) UsedCF() mta.CF {
	if o.RunningCF != nil {
		return *o.RunningCF
	}
	return o.CF
}

// Replaced returns a file of a transaction as it was seen; false for files in trust/. It is compared again right before
// the commit: the file that is replaced must be the one that was judged and copied to a backup.
func (d Observed) Replaced(name string) (durable.Node, bool) {
	_, ofSet := certdir.FileOf(name)
	n, _ := d.Certs.File(name)
	return n, ofSet
}
