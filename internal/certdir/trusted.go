package certdir

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"sort"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Trusted are the certificates that sendmail trusts with CACertFile and
// CACertPath here: all of cacert.pem, and those that OpenSSL finds under their
// subject hash (X509_LOOKUP_hash_dir(3)): HASH.0, HASH.1 and so on up to the
// first that is missing or cannot be loaded. No certificate stands twice. The
// files behind links are read again: Observe keeps digests only.
func (d Dir) Trusted() []*x509.Certificate {
	var out []*x509.Certificate
	seen := map[[32]byte]bool{}
	add := func(certs []*x509.Certificate, wanted func([32]byte) bool) {
		for _, c := range certs {
			if id := sha256.Sum256(c.Raw); !seen[id] && wanted(id) {
				seen[id] = true
				out = append(out, c)
			}
		}
	}
	// OpenSSL fails the whole file for one broken block, but reads more than Go.
	if err := d.CA.File.Err; err == nil || errors.Is(err, pki.ErrUnsupported) {
		add(d.CA.File.Certs, func([32]byte) bool { return true })
	}
	links := slices.Clone(d.Links)
	sort.Slice(links, func(i, j int) bool {
		if links[i].Hash != links[j].Hash {
			return links[i].Hash < links[j].Hash
		}
		return links[i].N < links[j].N
	})
	next := map[uint32]int{}
	for _, l := range links {
		if l.N != next[l.Hash] || !l.Loads {
			continue // not reached, or the end of its run: next stays
		}
		next[l.Hash]++
		if l.Right {
			add(pki.ReadCertFile(durable.Read(l.Node.Path, maxBundle).Data).Certs, func(id [32]byte) bool { return slices.Contains(l.Certs, id) })
		}
	}
	return out
}
