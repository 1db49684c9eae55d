package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Status is what the CA directory holds.
type Status int

// The statuses.
const (
	Absent     Status = iota // nothing of a CA
	Unfinished               // a key without a certificate, and nothing was ever issued: first boot was cut short
	Complete                 // a certificate with its key (which may have a passphrase)
	Damaged                  // anything else
)

func (s Status) String() string {
	return [...]string{"absent", "unfinished", "complete", "damaged"}[s]
}

// Generation is one key of the CA with its certificate.
type Generation struct {
	N      int // the oldest is 1; 0: the current one, in the CA directory itself
	Dir    string
	Cert   *x509.Certificate // nil when it cannot be read
	HasKey bool
	Locked bool              // the key has a passphrase
	Cross  *x509.Certificate // its successor, signed by it; nil when there is none
	// LastLeaf is when the last certificate that it issued expires; zero when no
	// valid one is known. For older generations only.
	LastLeaf time.Time
	// Err is why a part of it, or index.txt, could not be read: nothing may be concluded from what is missing here.
	Err error
}

// Issued is a certificate in newcerts that could serve this host.
type Issued struct {
	Serial *big.Int
	Path   string
	Cert   *x509.Certificate
	Row    *Entry // nil: no row in index.txt
	// NoCA says that no CA certificate which goes along with it has issued it: nobody can use it. Preview finds it.
	NoCA bool
}

// Filter says which certificates in newcerts matter: those whose CN is Name,
// or which have none; with Name "" only those without a row in index.txt.
type Filter struct {
	Name string
	// Serving are the certificates that are installed on this host; a nil is none. Where a generation has issued one,
	// the database must have it.
	Serving []*x509.Certificate
	// Asking are further hosts, as Ask.Names has them, about which Preview will be asked: their rows are found too.
	Asking []string
}

// Observed is the CA directory as it was seen. It holds no secret.
type Observed struct {
	Dir     durable.Node
	Status  Status
	Key     durable.Node // without Data
	KeyInfo pki.KeyFile
	Current Generation
	Older   []Generation // newest first
	// Next is the generation that is waiting to be put in force; its Cert is nil when there is none. It is in next/.
	Next   Generation
	Rows   int      // in index.txt
	Serial *big.Int // what the serial file says; nil when it says nothing
	Issued []Issued // newest first; revoked ones left out
	// IssuedErr is why a certificate in newcerts that may be this host's could not be read; nil: Issued is all of them.
	IssuedErr error
	CRL       CRL
	Members   []Member // the members, by name
	// Made says that mailcertd made this CA, see MadeHere.
	Made bool
	// ServingRows are the rows of the certificates that are installed on this host, by FormatSerial.
	ServingRows map[string]Entry
	// Unlisted says that the members are not known: their list cannot be read.
	Unlisted bool
	Faults   []Fault
	Err      error // why it could not be looked at, such as a permission

	unreadNext bool  // something of next/ could not be read, or is damaged
	serialErr  error // why the serial file could not be read
	serialOdd  bool  // openssl cannot read it as it is written
	membersErr error // why the list of members could not be read
	confErr    error // why openssl.cnf could not be read
	db         *database
}

// Observe reads the CA directory and changes nothing.
func Observe(dir string, f Filter) Observed { return (*Memory)(nil).Observe(dir, f) }

// Observe is the same with a memory of the last time.
func (m *Memory) Observe(dir string, f Filter) Observed {
	o := Observed{Dir: durable.Look(dir), KeyInfo: pki.KeyFile{Err: fs.ErrNotExist}}
	if o.Err = o.Dir.Err; o.Err != nil || !o.Dir.Exists {
		return o
	}
	if !o.Dir.IsDir {
		o.Err = fmt.Errorf("%s: is not a directory", dir)
		return o
	}
	o.Key = durable.Read(filepath.Join(dir, keyName), maxFile)
	if o.Key.Exists && o.Key.Err == nil {
		o.KeyInfo = pki.ReadKeyFile(o.Key.Data)
	} else if o.Key.Err != nil {
		o.KeyInfo.Err = o.Key.Err
		o.Err = o.Key.Err
	}
	o.Key.Data = nil
	o.Current = generation(dir, 0)
	if o.Current.Err != nil { // all that follows would take the CA for another one
		o.Err = o.Current.Err
		return o
	}
	o.Current.HasKey = o.KeyInfo.Err == nil || o.KeyInfo.Encrypted
	o.Current.Locked = o.KeyInfo.Encrypted
	o.Serial, o.serialOdd, o.serialErr = readSerial(filepath.Join(dir, serialName))
	if o.Err = o.older(dir); o.Err != nil {
		return o
	}
	nextFault := o.next(dir)
	o.CRL = o.readLists()
	var err error
	for patient := newPatience(); ; {
		if o.db, err = m.database(dir, o.question(f)); err != nil {
			o.Err = err
			return o
		}
		if o.Err = o.lastLeaves(dir); !errors.Is(o.Err, errMoved) || !patient.wait() {
			break
		}
	}
	o.Rows = o.db.rows
	o.status()
	if now := durable.Look(dir); now.Err != nil || now.Dev != o.Dir.Dev || now.Ino != o.Dir.Ino {
		o.Status = Damaged
		o.Err = errors.Join(fmt.Errorf("%s: was moved away or replaced while it was read", dir), now.Err)
	}
	if o.Err != nil {
		return o
	}
	if o.Status == Absent {
		o.Next, o.unreadNext, o.CRL = Generation{}, false, CRL{}
		return o
	}
	o.Faults = nextFault
	o.Made, o.confErr = MadeHere(dir)
	o.Issued, o.IssuedErr = o.db.issued(dir, f.Name, o.db.hosts)
	o.CRL.compare(o.db)
	if o.Members, err = readMembers(dir); err != nil {
		o.Unlisted, o.membersErr = true, err
		o.fault(FaultMembers, membersName, false, "", err.Error())
	}
	o.faults()
	for _, c := range f.Serving {
		o.unlisted(c)
	}
	if o.db.unread() != nil {
		m.Forget() // an error is no answer to the next look
	}
	return o
}

// question is what index.txt is asked: the rows of the host, of the certificates that it serves, and of those who are
// in a CRL.
func (o *Observed) question(f Filter) question {
	q := question{serials: map[string]bool{}}
	if q.names = slices.Clone(f.Asking); f.Name != "" {
		q.names = append(q.names, f.Name)
	}
	for _, c := range f.Serving {
		if c != nil {
			q.serials[FormatSerial(c.SerialNumber)] = true
		}
	}
	for _, l := range o.CRL.Lists {
		listed := map[string]bool{}
		if l.List != nil {
			for _, r := range l.List.RevokedCertificateEntries {
				listed[FormatSerial(r.SerialNumber)] = true
			}
		}
		maps.Copy(q.serials, listed)
		q.lists = append(q.lists, listed)
	}
	return q
}

// Partial says that something of the CA or of one of its generations could not be
// read, or is damaged: Bundle may lack a generation that lives, and CRL its list.
func (o Observed) Partial() bool {
	// without its key alone the certificate is still the CA's
	whose := o.Status == Damaged && (!o.signs() || o.KeyInfo.Err == nil)
	return o.Err != nil || whose || o.unreadNext ||
		slices.ContainsFunc(o.Older, func(g Generation) bool { return g.Err != nil || g.Cert == nil })
}

// Unread is why a part of the CA could not be read: what is missing in it says nothing then. nil: all of it was read.
func (o Observed) Unread() error {
	errs := []error{o.Err, o.serialErr, o.membersErr, o.confErr, o.Current.Err, o.Next.Err, o.CRL.err()}
	if o.Key.Unread() {
		errs = append(errs, o.Key.Err)
	}
	if o.db != nil {
		errs = append(errs, o.db.unread())
	}
	for _, g := range o.Older {
		errs = append(errs, g.Err)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// status judges key and certificate together.
func (o *Observed) status() {
	key, cert := o.Key.Kind != durable.Missing, o.signs()
	used := o.db.rows > 0 || o.db.files > 0
	certThere := durable.Look(filepath.Join(o.Dir.Path, certName)).Kind != durable.Missing
	switch {
	case !key && !certThere && !used:
		o.Status = Absent
	case key && !certThere && !used && (o.KeyInfo.Err == nil || o.KeyInfo.Encrypted):
		o.Status = Unfinished
	case key && cert && o.KeyInfo.Encrypted:
		o.Status = Complete
	case key && cert && o.KeyInfo.Err == nil && pki.SamePublicKey(o.KeyInfo.Public, o.Current.Cert.PublicKey):
		o.Status = Complete
	default:
		o.Status = Damaged
	}
}

// prunable says that a generation has no living certificate, and none before it has. Between two that live it is the
// bridge: its cross.pem is how a member that trusts the older one gets to the newer. One that was in force for a moment
// only may never have issued any.
func (o Observed) prunable(g Generation, now time.Time) bool {
	return !slices.ContainsFunc(o.Older, func(x Generation) bool { return x.N <= g.N && !x.ended(now) })
}

// Bundle is what a member's cacert.pem must hold: the current generation, the
// next one when it waits to be put in force, then older ones that still have living certificates, newest first.
func Bundle(o Observed, now time.Time) []*x509.Certificate {
	var out []*x509.Certificate
	if o.signs() && (o.Status == Complete || o.Status == Damaged) {
		out = append(out, o.Current.Cert)
	}
	if o.HasNext() && len(out) > 0 {
		out = append(out, o.Next.Cert)
	}
	for _, g := range o.Older {
		if g.Cert != nil && !g.ended(now) {
			out = append(out, g.Cert)
		}
	}
	return out
}
