package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
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
}

// Filter says which certificates in newcerts matter: those whose CN is Name,
// or which have none. Key is not needed for it and may be nil.
type Filter struct {
	Name string
	Key  crypto.PublicKey
	// Serving is the certificate that is installed on this host; nil: none. Where a generation has issued it, the
	// database must have it.
	Serving *x509.Certificate
}

// Observed is the CA directory as it was seen. It holds no secret.
type Observed struct {
	Dir     durable.Node
	Status  Status
	Key     durable.Node // without Data
	KeyInfo pki.KeyFile
	Current Generation
	Older   []Generation // newest first
	// Next is the generation that is waiting to be put in force; its Cert is nil
	// when there is none. It lies in next/.
	Next    Generation
	Index   []Entry
	Serial  *big.Int // what the serial file says; nil when it says nothing
	Issued  []Issued // newest first; revoked ones left out
	CRL     CRL
	Members []Member // the enrolled hosts, by name
	// Unlisted says that the enrolled hosts are not known: their list cannot be read.
	Unlisted bool
	Faults   []Fault
	Err      error // why it could not be looked at, such as a permission

	unreadNext bool  // something of next/ could not be read
	serialErr  error // why the serial file could not be read
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
		o.Err = fmt.Errorf("%s: is no directory", dir)
		return o
	}
	var err error
	if o.db, err = m.database(dir); err != nil {
		o.Err = err
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
	o.Index = o.db.rows
	o.Serial, o.serialErr = readSerial(filepath.Join(dir, serialName))
	o.status()
	if o.Err = o.older(dir, m); o.Err != nil {
		return o
	}
	if o.Status == Absent {
		return o
	}
	o.next(dir)
	o.issued(dir, f)
	o.CRL = observeCRL(dir, &o)
	if o.Members, err = readMembers(dir); err != nil {
		o.Unlisted = true
		o.fault(FaultMembers, membersName, false, "", err.Error())
	}
	o.faults()
	o.unlisted(f.Serving)
	return o
}

// Partial says that something of the CA or of one of its generations could not be
// read: Bundle may lack a generation that lives.
func (o Observed) Partial() bool {
	return o.Err != nil || o.unreadNext || slices.ContainsFunc(o.Older, func(g Generation) bool { return g.Err != nil })
}

// status judges key and certificate together.
func (o *Observed) status() {
	key, cert := o.Key.Kind != durable.Missing, o.signs()
	used := len(o.Index) > 0 || o.db.files > 0
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

// How often and how far apart a CA certificate that cannot be understood is read
// again: it may be the half of one that a person is writing.
const (
	settleTries = 5
	settleWait  = 20 * time.Millisecond
)

func generation(dir string, n int) Generation {
	g := Generation{N: n, Dir: dir}
	for try := 0; ; try++ { // who writes it in place is soon done
		g.Cert = g.read(certName)
		if g.Cert != nil || g.Err != nil || try == settleTries || durable.Look(filepath.Join(dir, certName)).Kind != durable.File {
			break
		}
		time.Sleep(settleWait)
	}
	if n > 0 {
		g.readKey()
		g.Cross = g.read(crossName)
	}
	return g
}

// read gives the first certificate of a file of the generation; nil where there is none, or where Err says why.
func (g *Generation) read(name string) *x509.Certificate {
	cs, err := readCerts(filepath.Join(g.Dir, name))
	if err != nil && g.Err == nil {
		g.Err = err
	}
	if len(cs) == 0 {
		return nil
	}
	return cs[0]
}

// readKey looks whether a generation's key is there, and has a passphrase.
func (g *Generation) readKey() {
	n := durable.Read(filepath.Join(g.Dir, keyName), maxFile)
	if n.Err != nil && !misplaced(n.Err) && g.Err == nil {
		g.Err = n.Err
	}
	g.HasKey = n.Exists && n.Err == nil
	g.Locked = g.HasKey && pki.ReadKeyFile(n.Data).Encrypted
}

// readCerts gives the certificates in a file: none where the file is missing or holds none. An error is the system's,
// and says nothing about what the file holds.
func readCerts(path string) ([]*x509.Certificate, error) {
	n := durable.Read(path, maxFile)
	switch {
	case misplaced(n.Err):
		return nil, nil
	case n.Err != nil:
		return nil, n.Err
	case !n.Exists:
		return nil, nil
	}
	return pki.ReadCertFile(n.Data).Certs, nil
}

// misplaced says that something lies there which is no file of this kind: it was seen, and it is not an error of the
// system's.
func misplaced(err error) bool {
	return errors.Is(err, durable.ErrNotRegular) || errors.Is(err, durable.ErrTooLarge)
}

// older finds gen-N. One that holds the current certificate is a copy that an
// interrupted NextGeneration left. A folder with nothing of a generation in it
// is not one, whatever else somebody put there.
func (o *Observed) older(dir string, m *Memory) error {
	names, err := durable.Names(dir, 0)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := generationNumber(name)
		if !ok {
			continue
		}
		path := filepath.Join(dir, name)
		if there := durable.Look(path); there.Err != nil {
			return there.Err
		} else if there.Kind != durable.Directory {
			continue
		}
		g := generation(path, n)
		if g.Cert != nil && o.Current.Cert != nil && bytes.Equal(g.Cert.Raw, o.Current.Cert.Raw) {
			continue
		}
		if g.Cert == nil && g.Cross == nil && !g.HasKey && g.Err == nil {
			continue
		}
		if g.Err == nil {
			g.Err = o.db.unread()
		}
		o.Older = append(o.Older, g)
	}
	sort.Slice(o.Older, func(i, j int) bool { return o.Older[i].N > o.Older[j].N })
	if len(o.Older) > 0 {
		o.lastLeaves(dir, m)
	}
	return nil
}

// next finds the generation in next/. One whose certificate is in force
// already is what an interrupted Promote left.
func (o *Observed) next(dir string) {
	path := filepath.Join(dir, nextName)
	if n := durable.Look(path); n.Err != nil {
		o.unreadNext = true
		o.fault(FaultNext, nextName, false, "", n.Err.Error())
		return
	} else if !n.IsDir {
		return
	}
	g := Generation{Dir: path}
	g.readKey()
	g.Cert, g.Cross = g.read(certName), g.read(crossName)
	if g.Err != nil {
		o.unreadNext = true
		o.fault(FaultNext, nextName, false, "", g.Err.Error())
		return
	}
	if g.Cert == nil {
		return // StartNext goes on with the key that is there
	}
	if o.Current.Cert != nil && bytes.Equal(g.Cert.Raw, o.Current.Cert.Raw) {
		o.fault(FaultInterrupted, nextName, true, "", "")
		return
	}
	if !g.HasKey || g.Cross == nil || !pki.SamePublicKey(g.Cross.PublicKey, g.Cert.PublicKey) {
		o.fault(FaultNext, nextName, false, "", "")
		return
	}
	o.Next = g
}

// HasNext says that a next generation waits to be put in force.
func (o Observed) HasNext() bool { return o.Next.Cert != nil }

func generationNumber(name string) (int, bool) {
	tail, ok := strings.CutPrefix(name, "gen-")
	n, err := strconv.Atoi(tail)
	return n, ok && err == nil && n > 0 && tail == strconv.Itoa(n)
}

// lastLeaves finds for each older generation its certificate that lasts
// longest. The rows are read from the one that ends last, so that few files
// need to be opened. A certificate whose file is gone counts for every
// generation that was alive then.
func (o *Observed) lastLeaves(dir string, m *Memory) {
	rows := make([]*Entry, 0, len(o.Index))
	for i := range o.Index {
		if e := &o.Index[i]; e.Err == nil && e.Status == Valid {
			rows = append(rows, e)
		}
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].Expires.After(rows[j].Expires) })
	open := map[int]bool{}
	for i, g := range o.Older {
		open[i] = g.Cert != nil
	}
	by := o.issuer(dir, m)
	for _, e := range rows {
		if len(open) == 0 {
			return
		}
		signer := by(e.Serial)
		for i := range open {
			g := &o.Older[i]
			if g.Cert == nil || e.Expires.Before(g.Cert.NotBefore) {
				delete(open, i)
				continue
			}
			if signer == fileGone && !e.Expires.After(g.Cert.NotAfter) || signer == g.N {
				g.LastLeaf = e.Expires
				delete(open, i)
			}
		}
	}
}

// What issuer says beside the number of a generation.
const (
	fileGone   = -1 // newcerts has no such certificate
	signedElse = -2 // no generation that is there signed it
)

// issuer tells which generation signed the certificate with that serial: 0 is
// the current one.
func (o *Observed) issuer(dir string, m *Memory) func(*big.Int) int {
	gens := append([]Generation{o.Current}, o.Older...)
	known := ""
	for _, g := range gens {
		if g.Cert != nil {
			known += fmt.Sprintf("%d:%x ", g.N, g.Cert.SubjectKeyId)
		}
	}
	memo := map[string]int{}
	if m != nil {
		if m.known != known || m.issuers == nil {
			m.issuers, m.known = map[string]int{}, known
		}
		memo = m.issuers
	}
	return func(n *big.Int) int {
		serial := FormatSerial(n)
		if v, ok := memo[serial]; ok {
			return v
		}
		cs, err := readCerts(filepath.Join(dir, newCertsName, serial+".pem"))
		if len(cs) == 0 || err != nil {
			return fileGone // any generation may have signed it: each lives on
		}
		v := signedElse
		for _, g := range gens {
			if g.Cert != nil && pki.IssuedBy(cs[0], g.Cert) {
				v = g.N
				break
			}
		}
		memo[serial] = v
		return v
	}
}

// readSerial gives the number in a file; nil where the file is missing or holds none. An error is the system's.
func readSerial(path string) (*big.Int, error) {
	n := durable.Read(path, maxFile)
	if n.Err != nil || !n.Exists {
		return nil, n.Err
	}
	v, err := parseSerial(strings.TrimSpace(string(n.Data)))
	if err != nil {
		return nil, nil
	}
	return v, nil
}

// Prunable says that an older generation has no living certificate.
func Prunable(o Observed, now time.Time) bool {
	for _, g := range o.Older {
		if g.ended(now) {
			return true
		}
	}
	return false
}

// ended: a generation whose certificate cannot be read is kept while its key is there.
func (g Generation) ended(now time.Time) bool {
	if g.Err != nil {
		return false
	}
	if g.Cert == nil {
		return !g.HasKey
	}
	return now.After(g.LastLeaf) || now.After(g.Cert.NotAfter)
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
