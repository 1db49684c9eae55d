package plan

import (
	"crypto"
	"crypto/x509"
	"errors"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// installed is the content of the two files of a pair. All that it says follows from these files alone.
type installed struct {
	keyFile  certdir.KeyEntry
	certFile certdir.CertEntry

	leaf    *x509.Certificate // nil when none can be read
	key     crypto.PublicKey  // nil when none can be used
	matches bool              // leaf and key belong together
}

func installedOf(e certdir.PairEntry) installed {
	i := installed{keyFile: e.Key, certFile: e.Cert}
	if cs := e.Cert.File; len(cs.Certs) > 0 && cs.Err == nil {
		i.leaf = cs.Certs[0]
	}
	if k := e.Key.Key; k.Err == nil && !k.Encrypted {
		i.key = k.Public
	}
	i.matches = i.leaf != nil && i.key != nil && pki.SamePublicKey(i.leaf.PublicKey, i.key)
	return i
}

// exists reports whether a file of the pair is installed.
func (i installed) exists() bool {
	return i.keyFile.Node.Kind != durable.Missing || i.certFile.Node.Kind != durable.Missing
}

// unreadable returns the key or certificate file that prevents a decision: a directory, a special file, or a file that
// the system does not let us read.
func (i installed) unreadable() (durable.Node, bool) {
	for _, n := range []durable.Node{i.keyFile.Node, i.certFile.Node} {
		if n.Err != nil || n.Exists && !n.IsRegular {
			return n, true
		}
	}
	return durable.Node{}, false
}

// keyUnusable reports a host.key from which OpenSSL cannot load a key. A key of a form that Go does not know is not
// unusable.
func (i installed) keyUnusable() bool {
	e := i.keyFile
	return e.Node.IsRegular && e.Node.Err == nil && e.Key.Err != nil && !errors.Is(e.Key.Err, pki.ErrUnsupported) &&
		!e.IsPlaceholder()
}

func (i installed) certUnusable() bool {
	e := i.certFile
	return e.Node.IsRegular && e.Node.Err == nil && e.File.Err != nil && !errors.Is(e.File.Err, pki.ErrUnsupported) &&
		!e.IsPlaceholder()
}

// whole reports whether certificate and key are complete and match, so that nobody is still copying them.
func (i installed) whole() bool { return i.matches && i.certFile.File.Behind == nil }

// kind returns the family of the key, "" where no key can be read.
func (i installed) kind() string {
	if i.key == nil {
		return ""
	}
	return pki.TypeOf(i.key).Family()
}
