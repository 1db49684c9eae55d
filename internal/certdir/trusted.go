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

// Trusted returns the certificates that sendmail trusts with CACertFile and CACertPath here, each once: all of
// cacert.pem, and those that OpenSSL finds by their subject hash (X509_LOOKUP_hash_dir(3)): HASH.0, HASH.1 and so on up
// to the first that is missing or cannot be loaded. It reads the files of links again, since Dir keeps only digests of
// them. The error is why a part could not be read.
func (d Dir) Trusted() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, err := range []error{d.Err, d.Node.Err} {
		if err != nil {
			return nil, err
		}
	}
	if d.CA.Node.Unread() {
		return nil, d.CA.Node.Err
	}
	seen := map[[32]byte]bool{}
	add := func(certs []*x509.Certificate, wanted func([32]byte) bool) {
		for _, c := range certs {
			if id := sha256.Sum256(c.Raw); !seen[id] && wanted(id) {
				seen[id] = true
				out = append(out, c)
			}
		}
	}
	// OpenSSL refuses the whole file for one broken block, but it accepts certificates that Go does not
	// (ErrUnsupported).
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
			continue // OpenSSL does not reach it, or its search ends here
		}
		next[l.Hash]++
		if l.Right {
			n := durable.Read(l.Node.Path, MaxFile)
			if n.Unread() {
				return nil, n.Err
			}
			add(pki.ReadCertFile(n.Data).Certs, func(id [32]byte) bool { return slices.Contains(l.Certs, id) })
		}
	}
	return out, nil
}

// mostAbove bounds the number of certificates above a leaf.
const mostAbove = 10

// above sets Dir.Above. It reads at most one more file for each issuer.
func (c *Reader) above(d *Dir) {
	if len(d.Cert.File.Certs) == 0 {
		return
	}
	top := d.Cert.File.Certs[0]
	for range mostAbove {
		if pki.SameName(top.RawSubject, top.RawIssuer) {
			return
		}
		var next *x509.Certificate
		for _, x := range slices.Concat(d.CA.File.Certs, d.Above) {
			if names(x, top) {
				next = x
				break
			}
		}
		hash, err := pki.SubjectHash(top.RawIssuer)
		for _, l := range d.Links {
			if next != nil || err != nil || l.Hash != hash || !l.Right || !l.Node.IsRegular {
				continue
			}
			if p, err := c.read(l.Node); err == nil {
				for _, x := range p.certs {
					if names(x, top) {
						d.Above, next = append(d.Above, x), x
						break
					}
				}
			}
		}
		if next == nil {
			return
		}
		top = next
	}
}

// names says whether issuer has the name that c gives for its issuer, compared as OpenSSL does.
func names(issuer, c *x509.Certificate) bool {
	return pki.SameName(issuer.RawSubject, c.RawIssuer) && pki.NamedBy(c, issuer)
}
