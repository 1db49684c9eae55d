package ca

import (
	"bytes"
	"crypto/x509"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// A CA certificate that cannot be parsed is read again, this often and this far apart: a person may be writing it.
const (
	settleTries = 5
	settleWait  = 20 * time.Millisecond
)

func generation(dir string, n int) Generation {
	g := Generation{N: n, Dir: dir}
	for try := 0; ; try++ { // who writes it in place is soon done
		g.Cert = g.read(certName)
		if g.Cert != nil || g.Err != nil || try == settleTries ||
			durable.Look(filepath.Join(dir, certName)).Kind != durable.File {
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

// read returns the first certificate of a file of the generation. It returns nil where there is none, or where it sets
// Err.
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

// readKey reads the key of a generation, and notes whether there is one and whether it has a passphrase.
func (g *Generation) readKey() pki.KeyFile {
	n := durable.Read(filepath.Join(g.Dir, keyName), maxFile)
	if n.Unread() && g.Err == nil {
		g.Err = n.Err
	}
	g.HasKey = n.Exists && n.Err == nil
	if !g.HasKey {
		return pki.KeyFile{Err: fs.ErrNotExist}
	}
	key := pki.ReadKeyFile(n.Data)
	g.Locked = key.Encrypted
	return key
}

// readCerts returns the certificates in a file; none where the file is missing or has none. An error is the system's:
// what the file holds is then not known.
func readCerts(path string) ([]*x509.Certificate, error) {
	n := durable.Read(path, maxFile)
	switch {
	case n.Unread():
		return nil, n.Err
	case n.Err != nil, !n.Exists: // what is there was seen, and is no file of this kind
		return nil, nil
	}
	return pki.ReadCertFile(n.Data).Certs, nil
}

// readOlder returns the generations in gen-N, newest first. A directory with the current certificate is a copy that an
// interrupted NextGeneration left. One that holds neither a certificate, a cross-signed certificate nor a key is not a
// generation.
func readOlder(dir string, current *x509.Certificate) ([]Generation, error) {
	names, err := durable.Names(dir, 0)
	if err != nil {
		return nil, err
	}
	var all []Generation
	for _, name := range names {
		n, ok := generationNumber(name)
		if !ok {
			continue
		}
		path := filepath.Join(dir, name)
		if there := durable.Look(path); there.Unread() {
			return all, there.Err
		} else if there.Kind != durable.Directory {
			continue
		}
		g := generation(path, n)
		if g.Cert != nil && current != nil && bytes.Equal(g.Cert.Raw, current.Raw) {
			continue
		}
		if g.Cert == nil && g.Cross == nil && !g.HasKey && g.Err == nil {
			continue
		}
		all = append(all, g)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].N > all[j].N })
	return all, nil
}

// readNext reads the generation in next/; g.Cert is nil where none is complete. unread says that a part of it could not
// be read, or is damaged. faults say why it cannot be put in force. Where its certificate is in force already, an
// interrupted Promote left it.
func readNext(dir string, current *x509.Certificate) (g Generation, unread bool, faults []Fault) {
	path := filepath.Join(dir, nextName)
	useless := func(got string) (Generation, bool, []Fault) {
		return Generation{}, true, []Fault{{Kind: FaultNext, Path: path, Got: got}}
	}
	if n := durable.Look(path); n.Unread() {
		return useless(n.Err.Error())
	} else if !n.IsDir {
		return Generation{}, false, nil
	}
	g.Dir = path
	key := g.readKey()
	g.Cert, g.Cross = g.read(certName), g.read(crossName)
	if g.Err != nil {
		return useless(g.Err.Error())
	}
	if g.Cert == nil { // StartNext goes on with the key that is there
		begun := g.HasKey || g.Cross != nil || durable.Look(filepath.Join(path, certName)).Kind != durable.Missing
		return Generation{}, begun, nil
	}
	if current != nil && bytes.Equal(g.Cert.Raw, current.Raw) {
		return Generation{}, false, []Fault{{Kind: FaultInterrupted, Path: path, Repairable: true}}
	}
	if !g.HasKey || g.Cross == nil || !pki.SamePublicKey(g.Cross.PublicKey, g.Cert.PublicKey) {
		return useless("")
	}
	// Without its own key the CA could sign nothing once this generation is in force. A key with a passphrase cannot be
	// compared with the certificate here, and is accepted.
	switch {
	case key.Encrypted:
	case key.Err != nil:
		return useless(keyName + ": " + key.Err.Error())
	case !pki.SamePublicKey(key.Public, g.Cert.PublicKey):
		return useless(keyName + " does not belong to its certificate")
	}
	return g, false, nil
}

// HasNext says that a next generation waits to be put in force.
func (o Observed) HasNext() bool { return o.Next.Cert != nil }

func generationNumber(name string) (int, bool) {
	tail, ok := strings.CutPrefix(name, "gen-")
	n, err := strconv.Atoi(tail)
	return n, ok && err == nil && n > 0 && tail == strconv.Itoa(n)
}
