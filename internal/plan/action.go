package plan

import (
	"crypto/x509"
	"io/fs"
	"math/big"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Kind is what an action does.
type Kind string

// The actions, in the order in which a plan lists them.
const (
	Recover      Kind = "recover"        // finish an interrupted change in the certs directory; then look again
	MakeDir      Kind = "mkdir"          // create a directory
	Chmod        Kind = "chmod"          // set a mode
	Chown        Kind = "chown"          // give to root:wheel
	ReconcileCA  Kind = "reconcile-ca"   // repair the openssl database
	InitCA       Kind = "make-ca"        // make the CA, or finish making it
	RedateCA     Kind = "redate-ca"      // make a CA certificate that is not yet valid again, over its key
	NextCA       Kind = "next-ca"        // start the next generation of the CA
	PruneCA      Kind = "prune-ca"       // remove an ended generation
	Unstage      Kind = "unstage"        // delete a staged key that nobody wants any more
	StageKey     Kind = "stage-key"      // make a new host key, durably, beside the old one
	Obtain       Kind = "obtain"         // ask the issuer for a certificate; then look again
	Install      Kind = "install"        // the transaction: files and links change together
	PruneBackup  Kind = "prune-backup"   // drop backups of our own
	DeleteOldKey Kind = "delete-old-key" // delete a replaced key of our own
	PromoteCA    Kind = "promote-ca"     // put the waiting generation in force
	WriteCRL     Kind = "write-crl"      // make the CA's revocation lists again
	MakeInbox    Kind = "make-inbox"     // the directories for requests of members
	Answer       Kind = "answer"         // answer the requests in the inbox
	AcceptCA     Kind = "accept-ca"      // accept CA certificates of the other host
	MoveBackups  Kind = "move-backups"   // move the backups of an older version to the present directory
	Clear        Kind = "clear"          // remove what an interrupted write or damage has left
)

// Action is one step. Only the fields that its Kind needs are set.
type Action struct {
	Kind    Kind        `json:"kind"`
	Reason  Reason      `json:"reason"`
	Text    Sentence    `json:"text"` // for people: what and why
	Path    string      `json:"path,omitempty"`
	Mode    fs.FileMode `json:"-"`
	KeyType pki.KeyType `json:"-"`
	// Pair is whose key StageKey makes and whose certificate Obtain asks for.
	Pair    certdir.Pair `json:"-"`
	Request *Request     `json:"-"`
	Change  *Change      `json:"-"`
	ID      string       `json:"-"` // PruneBackup, DeleteOldKey, Clear: the backup
	// Parts are what Clear removes with a generation that has no manifest.
	Parts []durable.Saved `json:"-"`
	// Extra marks an Install of what sendmail can do without: files in trust/ and their links, and the CRL.
	Extra bool `json:"-"`
	// Hold is why Answer signs nothing now; "" lets it sign.
	Hold string `json:"-"`
	// Signing holds the times by which WriteCRL signs while the clock is doubted; nil: it signs by Plan.At.
	Signing *Signing `json:"-"`
	// Certs are the CA certificates that AcceptCA accepts, the one that issues now first.
	Certs []*x509.Certificate `json:"-"`
}

// Ask is a request to the CA on another host. It is sent without the lock, because the answer may take long; the answer
// is stored as a file and found at the next look.
type Ask struct {
	Reason Reason
	Text   Sentence
	// Request describes the wanted certificate; nil asks for the trust set alone.
	Request *Request
	Renew   *big.Int // the serial that it is to replace; nil: none
	// Holds are the serials of the certificates that this CA issued for the host's other pairs.
	Holds  []*big.Int
	Trusts []string // pki.Fingerprint of each CA certificate in cacert.pem
	// Pair is what an ACME CA is asked about, Replaces the leaf that the new one takes the place of, and Poll the one
	// whose renewal it is asked about; nil: none.
	Pair           certdir.Pair
	Replaces, Poll *x509.Certificate
	// Fallback says that the second ACME CA is asked.
	Fallback bool
	// Lost says that the last answer of the ACME CA was not installed and cannot be read: it is asked for again.
	Lost bool
	// Tidy says that nobody is asked: what an order has left where others can see it is removed, beside the loop,
	// because name servers and programs are slow.
	Tidy bool
}

// ACME reports whether an ACME CA is asked, and not a CA host.
func (q Ask) ACME() bool { return q.Pair != (certdir.Pair{}) }

// Request is what the issuer is asked for.
type Request struct {
	Pair     certdir.Pair // whose key it is over
	Staged   bool         // over the staged key; else over the installed one
	Name     string
	AltNames []string
	Days     int
}

// Source says where the content of an installed file comes from.
type Source int

// The sources.
const (
	FromData     Source = iota // Install.Data holds the content
	FromStaging                // a new key that was staged before
	FromStripped               // the installed key without the certificates in it
	FromSelf                   // an interim self-signed certificate over the key
	FromCarried                // the key that a person brought in a file
)

// File is one file of a transaction.
type File struct {
	Name   string // host.key, host.cert, cacert.pem, dh.param, trust/…
	Mode   fs.FileMode
	Source Source
	Data   []byte // FromData: public content
	Reason Reason
	// Needed marks a file in trust/ without which sendmail would send an incomplete chain: it changes with the pair.
	Needed bool
}

// Change is one transaction in the certs directory.
type Change struct {
	Files  []File
	Links  []certdir.LinkChange
	Drop   []string // files of ours that go, such as a stale CRL
	Copies []Copied
	// Remove lists files in trust/ that hold exactly the certificate that their name states, see OwnTrust. They are
	// removed after their links, so that no link dangles.
	Remove []string
	// Interim is what the interim certificate of FromSelf is made for.
	Interim *Request
	// Extra is true when sendmail can offer STARTTLS without any of these files, so that a failure is a chore's.
	Extra bool
	// Pickup is false when sendmail needs no restart to use the change, as with hash links alone.
	Pickup bool
}

// Copied is a file that is replaced or removed and is copied first.
type Copied struct {
	Name    string
	Foreign bool // not made by us: the copy is never pruned
	Secret  bool
}
