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

// Status says how complete the CA is.
type Status int

// The statuses.
const (
	Absent     Status = iota // no file of a CA
	Unfinished               // a key without a certificate, and nothing was issued: Init was interrupted
	Complete                 // a certificate that may sign, and its key, which may have a passphrase
	Damaged                  // anything else
)

func (s Status) String() string {
	return [...]string{"absent", "unfinished", "complete", "damaged"}[s]
}

// Generation is one key of the CA and its certificate.
type Generation struct {
	N      int // 1 is the oldest; 0 is the current one, whose files are in the CA directory itself
	Dir    string
	Cert   *x509.Certificate // nil where it is missing or cannot be read
	HasKey bool
	Locked bool              // the key has a passphrase
	Cross  *x509.Certificate // its successor, signed by it; nil when there is none
	// LastLeaf is when the last certificate that it issued expires; zero where no valid one is known. It is set for
	// older generations only.
	LastLeaf time.Time
	// Err is why a part of it, or index.txt, could not be read. While it is not nil, a part that seems to be missing
	// may exist.
	Err error
}

// Issued is a certificate in newcerts that could serve this host.
type Issued struct {
	Serial *big.Int
	Path   string
	Cert   *x509.Certificate
	Row    *Entry // its row in index.txt; nil: it has none
	// NoCA says that none of the CA certificates that are sent with it has issued it, so that nobody can verify it.
	// Only Preview sets it.
	NoCA bool
}

// Filter says which certificates in newcerts are observed: those whose CN is Name or that have no CN, and those without
// a row in index.txt. With Name "" it is only the latter.
type Filter struct {
	Name string
	// Serving are the certificates that are installed on this host; nil ones are ignored. The database must have those
	// that a generation issued.
	Serving []*x509.Certificate
	// Overview is the moment for which the same pass prepares an Overview; zero: Overview makes a pass of its own.
	Overview time.Time
	// Asking are further host names, in the form of Ask.Names, whose rows the same pass finds for a later Preview.
	Asking []string
}

// Observed is the CA directory at one moment. It holds no secret.
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
	Serial *big.Int // the number in the serial file; nil where it has none
	Issued []Issued // newest first; revoked ones left out
	// IssuedErr is why a certificate in newcerts that may be this host's could not be read; nil: Issued is complete.
	IssuedErr error
	CRL       CRL
	Members   []Member // the members, by name
	// Made is the answer of MadeHere.
	Made bool
	// ServingRows are the rows of the certificates that are installed on this host, by FormatSerial.
	ServingRows map[string]Entry
	// Unlisted says that the list of members could not be read, so that Members is not known.
	Unlisted bool
	Faults   []Fault
	Err      error // why the directory could not be read, such as a missing permission

	unreadNext bool  // a part of next/ could not be read, or is damaged
	serialErr  error // why the serial file could not be read
	serialOdd  bool  // the serial file has a number that openssl cannot parse
	membersErr error // why the list of members could not be read
	confErr    error // why openssl.cnf could not be read
	db         *database
}

// Observe reads the CA directory and changes nothing.
func Observe(dir string, f Filter) Observed { return (*Memory)(nil).Observe(dir, f) }

// Observe does the same, with the result of the last pass over the database where it is current.
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
	if o.Current.Err != nil { // without its certificate, no other file can be attributed to this CA
		o.Err = o.Current.Err
		return o
	}
	o.Current.HasKey = o.KeyInfo.Err == nil || o.KeyInfo.Encrypted
	o.Current.Locked = o.KeyInfo.Encrypted
	o.Serial, o.serialOdd, o.serialErr = readSerial(filepath.Join(dir, serialName))
	var err error
	if o.Older, err = readOlder(dir, o.Current.Cert); err != nil {
		o.Err = err
		return o
	}
	var next []Fault
	o.Next, o.unreadNext, next = readNext(dir, o.Current.Cert)
	o.CRL = readLists(o.signers())
	for patient := newPatience(); ; {
		if o.db, err = m.database(dir, questionFor(f, o.CRL)); err != nil {
			o.Err = err
			return o
		}
		if o.Err = o.lastLeaves(dir); !errors.Is(o.Err, errMoved) || !patient.wait() {
			break
		}
	}
	o.Rows = o.db.rows
	o.Status = o.status()
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
	o.Made, o.confErr = MadeHere(dir)
	o.Issued, o.IssuedErr = o.db.issued(dir, f.Name, o.db.hosts)
	o.CRL.compare(o.db)
	if o.Members, err = readMembers(dir); err != nil {
		o.Unlisted, o.membersErr = true, err
	}
	o.Faults = inspect(&o, next, f.Serving)
	o.ServingRows = servingRows(o.db, f.Serving)
	if o.db.unread() != nil {
		m.forget() // the next look must try again
	}
	return o
}

// questionFor is what a pass over index.txt must find: the rows of the hosts in f, of the certificates that this host
// serves, and of the serials in the CRLs.
func questionFor(f Filter, c CRL) question {
	q := question{serials: map[string]bool{}, overview: f.Overview}
	if q.names = slices.Clone(f.Asking); f.Name != "" {
		q.names = append(q.names, f.Name)
	}
	for _, leaf := range f.Serving {
		if leaf != nil {
			q.serials[FormatSerial(leaf.SerialNumber)] = true
		}
	}
	for _, l := range c.Lists {
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

// path is the path of a file whose name is relative to the CA directory.
func (o *Observed) path(name string) string { return filepath.Join(o.Dir.Path, name) }

// rowPath is the path of index.txt with the number of the row's line.
func (o *Observed) rowPath(e Entry) string { return o.path(fmt.Sprintf("%s:%d", indexName, e.Line)) }

// Partial says that a part of the CA or of one of its generations is damaged or could not be read. Bundle may then lack
// a generation that is in use, and CRL a list.
func (o Observed) Partial() bool {
	// the certificate is known to be the CA's also where only the key is missing
	whose := o.Status == Damaged && (!o.signs() || o.KeyInfo.Err == nil)
	return o.Err != nil || whose || o.unreadNext ||
		slices.ContainsFunc(o.Older, func(g Generation) bool { return g.Err != nil || g.Cert == nil })
}

// Unread is why a part of the CA could not be read, so that what seems to be missing may exist; nil: all was read.
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

// status says how complete the CA is, from its key and its certificate together.
func (o *Observed) status() Status {
	key, cert := o.Key.Kind != durable.Missing, o.signs()
	used := o.db.rows > 0 || o.db.files > 0
	certThere := durable.Look(filepath.Join(o.Dir.Path, certName)).Kind != durable.Missing
	switch {
	case !key && !certThere && !used:
		return Absent
	case key && !certThere && !used && (o.KeyInfo.Err == nil || o.KeyInfo.Encrypted):
		return Unfinished
	case key && cert && o.KeyInfo.Encrypted:
		return Complete
	case key && cert && o.KeyInfo.Err == nil && pki.SamePublicKey(o.KeyInfo.Public, o.Current.Cert.PublicKey):
		return Complete
	}
	return Damaged
}

// prunable says that neither the generation nor any older one has a certificate that is valid. A generation between two
// that are in use is still needed: its cross.pem leads a member that trusts the older one to the newer one.
func (o Observed) prunable(g Generation, now time.Time) bool {
	return !slices.ContainsFunc(o.Older, func(x Generation) bool { return x.N <= g.N && !x.ended(now) })
}

// Bundle is what a member's cacert.pem must contain: the current generation, the next one if there is one, then the
// older ones that have not ended, newest first.
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
