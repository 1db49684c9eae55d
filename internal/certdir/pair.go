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

// Pairs returns all pairs, in the order in which they are decided about and installed.
func Pairs() []Pair { return []Pair{Host, HostECDSA, Client} }

// Server says whether sendmail reads the pair when it starts and shows it as a server. The client pair is read by each
// process that delivers mail.
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
	Pair Pair // the pair of a key or a certificate; the zero value for other kinds
}

// ReadAtStart says whether a running sendmail goes on using the content that it read when it started.
func (f File) ReadAtStart() bool { return f.Pair.Server() }

// files is the list that Files copies.
var files = listFiles()

// Files returns the one list of the files in the certs directory that have fixed names, in the order in which a
// transaction renames them: a file comes after those that it needs, so a certificate comes after its key.
func Files() []File { return slices.Clone(files) }

func listFiles() []File {
	out := []File{{Name: CAName, Kind: KindCA}, {Name: DHName, Kind: KindDH}, {Name: CRLName, Kind: KindCRL}}
	for _, p := range Pairs() {
		out = append(out, File{p.KeyFile, KindKey, p}, File{p.CertFile, KindCert, p})
	}
	return out
}

// FileOf returns the file of the set that has this name; false for any other name.
func FileOf(name string) (File, bool) {
	i := slices.IndexFunc(files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return files[i], true
}

// KeyFiles returns the names of the private keys.
func KeyFiles() []string {
	var out []string
	for _, p := range Pairs() {
		out = append(out, p.KeyFile)
	}
	return out
}

// PairEntry holds the two files of a pair.
type PairEntry struct {
	Key  KeyEntry
	Cert CertEntry
}

// Exists says whether at least one of the two files exists.
func (e PairEntry) Exists() bool { return e.Key.Node.Exists || e.Cert.Node.Exists }

// Pair returns the files of p. The caller may change them through the pointer.
func (d *Dir) Pair(p Pair) *PairEntry {
	switch p {
	case HostECDSA:
		return &d.Second
	case Client:
		return &d.Client
	}
	return &d.PairEntry
}

// File returns the file of that name and the SHA-256 of its content; zero values for a name that is not on the list.
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

// Put changes d as if the file of that name were n, whose Data must be set. It ignores a name that is not on the list.
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
