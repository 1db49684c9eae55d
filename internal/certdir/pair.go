package certdir

import (
	"slices"

	"mailcertd/internal/durable"
)

// Pair is a private key and its certificate, by the names of their files.
type Pair struct {
	Name     string // for people, JSON and the state: host, host-ecdsa, client
	KeyFile  string
	CertFile string
}

// The pairs that the certs directory may hold.
var (
	// Host is what sendmail serves, and what it shows as a client where Client is not asked for.
	Host = Pair{Name: "host", KeyFile: KeyName, CertFile: CertName}
	// HostECDSA is a second pair of another key type, which sendmail serves beside Host (key.second).
	HostECDSA = Pair{Name: "host-ecdsa", KeyFile: "host-ecdsa.key", CertFile: "host-ecdsa.cert"}
	// Client is what sendmail shows as a client, where that is another certificate (client:).
	Client = Pair{Name: "client", KeyFile: "client.key", CertFile: "client.cert"}
)

// Pairs are all of them, in the order in which they are decided about and installed.
func Pairs() []Pair { return []Pair{Host, HostECDSA, Client} }

// Server says that sendmail reads the pair at its start and serves it. The client's is read by each process that
// delivers mail.
func (p Pair) Server() bool { return p != Client }

// Kind is what a file of the certs directory is, as it is remembered in the state.
type Kind string

// The kinds.
const (
	KindKey  Kind = "key"
	KindCert Kind = "cert"
	KindCA   Kind = "ca"
	KindDH   Kind = "dh"
	KindCRL  Kind = "crl"
)

// File is one of the files of the set.
type File struct {
	Name string
	Kind Kind
	Pair Pair // of a key or a certificate; the zero value for the others
}

// ReadAtStart says that a running sendmail goes on using what it read of the file when it started.
func (f File) ReadAtStart() bool { return f.Pair.Server() }

// files is what Files gives.
var files = listFiles()

// Files is the one list of the files in the certs directory that have fixed names, in the order in which a transaction
// renames them: what a certificate needs comes before it, and a key before the certificate for it.
func Files() []File { return slices.Clone(files) }

func listFiles() []File {
	out := []File{{Name: CAName, Kind: KindCA}, {Name: DHName, Kind: KindDH}, {Name: CRLName, Kind: KindCRL}}
	for _, p := range Pairs() {
		out = append(out, File{p.KeyFile, KindKey, p}, File{p.CertFile, KindCert, p})
	}
	return out
}

// FileOf is the file of the set that has this name; false for every other name.
func FileOf(name string) (File, bool) {
	i := slices.IndexFunc(files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return files[i], true
}

// KeyFiles are the names of the private keys.
func KeyFiles() []string {
	var out []string
	for _, p := range Pairs() {
		out = append(out, p.KeyFile)
	}
	return out
}

// PairEntry is what is under the two names of a pair.
type PairEntry struct {
	Key  KeyEntry
	Cert CertEntry
}

// Exists says that one of the two files is there.
func (e PairEntry) Exists() bool { return e.Key.Node.Exists || e.Cert.Node.Exists }

// Pair is what is under the names of p. What it points to may be changed.
func (d *Dir) Pair(p Pair) *PairEntry {
	switch p {
	case HostECDSA:
		return &d.Second
	case Client:
		return &d.Client
	}
	return &d.PairEntry
}

// File is what is under a name of the list, and the SHA-256 of its content; zero values for every other name.
func (d Dir) File(name string) (n durable.Node, sum [32]byte) {
	f, _ := FileOf(name)
	switch f.Kind {
	case KindKey:
		e := d.Pair(f.Pair).Key
		return e.Node, e.Digest
	case KindCert:
		e := d.Pair(f.Pair).Cert
		return e.Node, e.Digest
	case KindCA:
		return d.CA.Node, d.CA.Digest
	case KindDH:
		return d.DH.Node, d.DH.Digest
	case KindCRL:
		return d.CRL.Node, d.CRL.Digest
	}
	return durable.Node{}, [32]byte{}
}

// Put makes d what it will be when the content of n, which is read, is under a name of the list; another name changes
// nothing.
func (d *Dir) Put(name string, n durable.Node) {
	f, _ := FileOf(name)
	switch f.Kind {
	case KindKey:
		d.Pair(f.Pair).Key = readKey(n)
	case KindCert:
		d.Pair(f.Pair).Cert = readLeaf(n)
	case KindCA:
		d.CA = readCert(n)
	case KindDH:
		d.DH = DHEntry{Node: n, Digest: sum(n.Data)}
	case KindCRL:
		d.CRL = DHEntry{Node: n, Digest: sum(n.Data)}
	}
}
