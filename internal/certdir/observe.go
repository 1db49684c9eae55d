// Package certdir knows /etc/mail/certs: the list of its files, their content as plain values, and the hash links that
// it needs.
package certdir

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// The largest files, in octets, and the most names in a directory that are read.
const (
	maxDH      = 1 << 20
	MaxFile    = 16 << 20 // the most that pki parses
	maxEntries = 10000
)

// KeyEntry is a private key. Node.Data is always nil: the secret is dropped as soon as it has been parsed.
type KeyEntry struct {
	Node   durable.Node
	Key    pki.KeyFile
	Digest [32]byte // SHA-256 of the content; zero where it could not be read
}

// CertEntry is a certificate file or bundle.
type CertEntry struct {
	Node   durable.Node // Data is nil
	File   pki.CertFile
	Digest [32]byte
	HasKey bool // there is a private key in it too
}

// DHEntry is dh.param; Node.Data holds its content.
type DHEntry struct {
	Node   durable.Node
	Digest [32]byte
}

// Link is an entry whose name is that of a hash link.
type Link struct {
	Name  string // 0a1b2c3d.0
	Hash  uint32
	N     int
	Node  durable.Node
	Local bool       // a link within the certs directory that mailcertd may have made; see link
	Loads bool       // OpenSSL can load it
	Right bool       // a certificate in its file has this subject hash
	Certs [][32]byte // SHA-256 of the DER of those certificates
}

// Unknown says that the entry could not be examined, so that its target is not known.
func (l Link) Unknown() bool {
	return l.Node.Unread() && l.Node.Target == "" && l.Node.Kind != durable.File
}

// Dir is the certs directory at one moment.
type Dir struct {
	Path    string
	Node    durable.Node
	Parents []durable.Node // above the resolved directory, nearest first, up to /
	// PairEntry is the host's own pair: Key and Cert.
	PairEntry
	Second PairEntry // host-ecdsa
	Client PairEntry
	CA     CertEntry
	DH     DHEntry
	CRL    DHEntry // crl.pem, where crl.install asks for it; Node.Data holds its content
	// CRLLinks maps the entries that have the name of a hash link to a CRL to the text of the link; "" for an entry
	// that is no link.
	CRLLinks map[string]string
	// CRLErr is why one of them could not be examined; nil: all were.
	CRLErr error
	// CRLWaits are the paths of those where OpenSSL may wait for ever: FIFOs, devices, and links to them.
	CRLWaits []string
	Links    []Link      // by name
	Trust    []CertEntry // files in trust/, by name
	// TrustNode is trust/ itself; its Err is why the directory could not be listed.
	TrustNode durable.Node
	// Above are the certificates of issuers of host.cert that OpenSSL finds by hash links and that are not in
	// cacert.pem.
	Above []*x509.Certificate
	Extra []string // every other name
	Err   error    // why the directory could not be read; nil also when it is missing
}

// Observe reads the certs directory. It changes nothing and never blocks.
func Observe(path string) Dir { return new(Reader).Observe(path) }

// Observe does the same, and reads each certificate file only once over the life of the Reader.
func (c *Reader) Observe(path string) Dir {
	d := Dir{Path: path, Node: durable.Look(path).Located()}
	if base := d.Node.Resolved; base != "" {
		d.Parents = parents(base)
	} else {
		d.Parents = parents(path)
	}
	file := func(name string, limit int64) durable.Node {
		return durable.Read(filepath.Join(path, name), limit).Located()
	}
	for _, p := range Pairs() {
		*d.Pair(p) = PairEntry{Key: readKey(file(p.KeyFile, MaxFile)), Cert: readLeaf(file(p.CertFile, MaxFile))}
	}
	d.CA = c.entry(filepath.Join(path, CAName))
	n := file(DHName, maxDH)
	d.DH = DHEntry{Node: n, Digest: sum(n.Data)}
	n = file(CRLName, MaxFile)
	d.CRL = DHEntry{Node: n, Digest: sum(n.Data)}
	if !d.Node.IsDir {
		return d
	}
	names, err := entries(path)
	if err != nil {
		d.Err = err
		return d
	}
	for _, name := range names {
		_, ofSet := FileOf(name)
		switch hash, number, ok := hashName(name); {
		case ok:
			d.Links = append(d.Links, c.link(path, name, hash, number))
		case ofSet, name == StagingDir:
		case d.crlLink(path, name):
		case name == TrustDir:
			d.TrustNode, d.Trust = c.trust(filepath.Join(path, TrustDir))
		default:
			d.Extra = append(d.Extra, name)
		}
	}
	c.above(&d)
	return d
}

func readKey(n durable.Node) KeyEntry {
	e := KeyEntry{Node: n, Key: pki.KeyFile{Err: n.Err}}
	if n.Err == nil && n.IsRegular {
		e.Key = pki.ReadKeyFile(n.Data)
		e.Digest = sum(n.Data)
	} else if n.Err == nil {
		e.Key.Err = fs.ErrNotExist
	}
	e.Node.Data = nil
	return e
}

// readLeaf is readCert for a file of which OpenSSL loads only the first certificate, such as host.cert.
func readLeaf(n durable.Node) CertEntry { return readWith(n, pki.ReadLeafFile) }

func readCert(n durable.Node) CertEntry { return readWith(n, pki.ReadCertFile) }

func readWith(n durable.Node, as func([]byte) pki.CertFile) CertEntry {
	e := CertEntry{Node: n, File: pki.CertFile{Err: n.Err}}
	if n.Err == nil && n.IsRegular {
		e.File = as(n.Data)
		e.Digest, e.HasKey = sum(n.Data), pki.HoldsKey(n.Data)
	} else if n.Err == nil {
		e.File.Err = fs.ErrNotExist
	}
	e.Node.Data = nil
	return e
}

// ReadCert reads one certificate file, without a Reader.
func ReadCert(path string) CertEntry { return readCert(durable.Read(path, MaxFile).Located()) }

func sum(data []byte) [32]byte {
	if data == nil {
		return [32]byte{}
	}
	return sha256.Sum256(data)
}

// entry is readCert for a file that c may have read already.
func (c *Reader) entry(path string) CertEntry {
	n := durable.Look(path).Located()
	if n.Err != nil || !n.IsRegular {
		return ReadCert(path)
	}
	p, err := c.read(n)
	if err != nil {
		n.Err = err
		return CertEntry{Node: n, File: pki.CertFile{Err: err}}
	}
	return CertEntry{Node: n, File: p.file, Digest: p.digest, HasKey: p.hasKey}
}

func (c *Reader) trust(dir string) (durable.Node, []CertEntry) {
	n := durable.Look(dir)
	names, err := entries(dir)
	if err != nil {
		if n.Err == nil && n.IsDir {
			n.Err = err
		}
		return n, nil
	}
	var out []CertEntry
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		out = append(out, c.entry(filepath.Join(dir, name)))
	}
	return n, out
}

func entries(dir string) ([]string, error) { return durable.Names(dir, maxEntries) }

// parents are the directories above path, nearest first, up to the root.
func parents(path string) []durable.Node {
	var out []durable.Node
	for p := filepath.Dir(path); ; p = filepath.Dir(p) {
		out = append(out, durable.Look(p).Located())
		if p == filepath.Dir(p) {
			return out
		}
	}
}

// hashName splits the name of a hash link: eight hexadecimal digits in lower
// case, a dot, a number without leading zeros.
func hashName(name string) (hash uint32, n int, ok bool) {
	head, tail, found := strings.Cut(name, ".")
	if !found || len(head) != 8 || tail == "" || len(tail) > 4 || tail[0] == '0' && len(tail) > 1 {
		return 0, 0, false
	}
	if strings.ToLower(head) != head {
		return 0, 0, false
	}
	h, err := strconv.ParseUint(head, 16, 32)
	if err != nil {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(tail, 10, 16)
	if err != nil {
		return 0, 0, false
	}
	return uint32(h), int(v), true
}

func (c *Reader) link(dir, name string, hash uint32, n int) Link {
	l := Link{Name: name, Hash: hash, N: n}
	l.Node = durable.Look(filepath.Join(dir, name))
	l.Local = l.Node.Kind == durable.Link && local(l.Node.Target)
	if !l.Node.IsRegular {
		return l
	}
	p, err := c.read(l.Node)
	if err == nil {
		err = p.file.Err
	}
	if l.Loads = err == nil || errors.Is(err, pki.ErrUnsupported); !l.Loads {
		if !errors.Is(err, pki.ErrEmpty) && !errors.Is(err, pki.ErrGarbage) && !errors.Is(err, pki.ErrTruncated) &&
			!errors.Is(err, pki.ErrDER) {
			l.Node.Err = err // it could not be read, so nothing is known about its content
		}
		return l
	}
	l.Certs = p.with(hash)
	l.Right = len(l.Certs) > 0
	// A right link to another file, as `openssl rehash` makes for a CA that a person has added, belongs to that person.
	if t := filepath.Clean(l.Node.Target); l.Right && t != CAName && filepath.Dir(t) != TrustDir {
		l.Local = false
	}
	return l
}

// local says whether the text of a link stays within the directory: a name, such as cacert.pem, or trust/file.
func local(target string) bool {
	clean := filepath.Clean(target)
	return !filepath.IsAbs(clean) && (!strings.Contains(clean, "/") || filepath.Dir(clean) == TrustDir) && clean != ".."
}

// subjectHashes returns the subject hashes of certificates, without repetition and in the order of the certificates.
func subjectHashes(certs []*x509.Certificate) []uint32 {
	var out []uint32
	seen := map[uint32]bool{}
	for _, c := range certs {
		h, err := pki.SubjectHash(c.RawSubject)
		if err == nil && !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}
