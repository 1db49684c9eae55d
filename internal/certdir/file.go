package certdir

import (
	"slices"

	"mailcertd/internal/durable"
)

// The names in the certs directory, as FreeBSD's freebsd.mc has them. Those of the other pairs are in pair.go.
const (
	KeyName    = "host.key"
	CertName   = "host.cert"
	CAName     = "cacert.pem"
	DHName     = "dh.param"
	CRLName    = "crl.pem"
	TrustDir   = "trust"
	StagingDir = ".mailcertd"
)

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
