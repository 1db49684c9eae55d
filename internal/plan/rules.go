package plan

import (
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// Acceptance is what is needed to ask mta.Judge about any set of files.
type Acceptance struct {
	Root     bool      // sendmail runs as root: directories are checked too
	OwnersOK []uint32  // uids that may own the files: root, RunAsUser, TrustedUser
	Now      time.Time // OpenSSL prefers an issuer that is valid at this time
	// Libssl is the OpenSSL that sendmail is linked with, with the lowest security level in use: what a higher level
	// refuses is only a warning.
	Libssl pki.Libssl
}

// Files turns a certs directory into the input of mta.Judge. Where cf names another CACertFile beside host.cert, that
// file takes the place of cacert.pem.
func Files(cf mta.CF, d certdir.Dir, acc Acceptance) mta.Files {
	f := mta.Files{Root: acc.Root, OwnersOK: acc.OwnersOK, Libssl: acc.Libssl, Now: acc.Now}
	above := append([]durable.Node{d.Node}, d.Parents...)
	view := func(name string, n durable.Node) mta.View {
		return mta.View{Path: filepath.Join(d.Path, name), Node: n, Parents: above}
	}
	f.Dir = mta.View{Path: d.Path, Node: d.Node, Parents: d.Parents}
	f.Cert.View, f.Cert.File = view(certdir.Host.CertFile, d.Cert.Node), d.Cert.File
	f.CACert.View, f.CACert.File = view(certdir.CAName, d.CA.Node), d.CA.File
	if cf.CAs.Path != "" && NamesOurs(cf, d) && !leadsTo(cf, cf.CACert, d, certdir.CAName) {
		f.CACert.View, f.CACert.File, f.CAElsewhere = cf.CAs.View, cf.CAs.File, true
	}
	f.Store = slices.Concat(f.CACert.File.Certs, d.Above)
	f.Key.View, f.Key.Key = view(certdir.Host.KeyFile, d.Key.Node), d.Key.Key
	f.Second, f.Client = otherPair(cf.Second, cf, d, view), otherPair(cf.Client, cf, d, view)
	f.DH.View = view(certdir.DHName, d.DH.Node)
	f.DH.Bits, f.DH.Err = judgeDH(d.DH.Node.Data)
	return f
}

// otherPair is the pair that cf names beside the first server pair, with its files from d; nil when cf names none.
func otherPair(named mta.Pair, cf mta.CF, d certdir.Dir, view func(string, durable.Node) mta.View) *mta.Pair {
	if named.Cert.Path == "" && named.Key.Path == "" {
		return nil
	}
	for _, p := range certdir.Pairs() {
		e := d.Pair(p)
		if named.Cert.Path != "" && leadsTo(cf, named.Cert.Path, d, p.CertFile) {
			named.Cert = mta.CertView{View: view(p.CertFile, e.Cert.Node), File: e.Cert.File}
		}
		if named.Key.Path != "" && leadsTo(cf, named.Key.Path, d, p.KeyFile) {
			named.Key = mta.KeyView{View: view(p.KeyFile, e.Key.Node), Key: e.Key.Key}
		}
	}
	return &named
}

func judgeDH(data []byte) (bits int, err error) {
	p, err := dh.Read(data)
	if err != nil {
		return 0, err
	}
	return p.P.BitLen(), nil
}
