package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"

	"github.com/mholt/acmez/v3/acme"
)

// maxChain is the largest number of certificates in a chain.
const maxChain = 10

// download gets the certificate of an order. again says that it is an old certificate: the one that the request
// replaces, or one of which half the lifetime has passed, for example because Taken was not called long ago.
func (s ordering) download(ctx context.Context, order acme.Order) (r issuer.Reply, again bool, err error) {
	s.o.Progress("downloading the certificate")
	got, err := s.client.GetCertificateChain(ctx, s.account, order.Certificate)
	if isNotFound(err) {
		return r, true, nil
	}
	if err != nil {
		return r, false, s.refuse(ctx, "the certificate", err)
	}
	var chains [][]*x509.Certificate
	for n, c := range got {
		chain, err := readChain(c.ChainPEM)
		if err == nil && (n == 0 || len(chains) > 0 && chain[0].Equal(chains[0][0])) {
			chains = append(chains, chain)
		} else if n == 0 {
			return r, false, s.refuse(ctx, "the certificate", badAnswer{err.Error()})
		}
	}
	chain, found := preferred(chains, s.o.PreferredChain)
	if !found {
		s.o.Log(fmt.Sprintf("the CA offers no chain to the root %q; its first one is used", s.o.PreferredChain))
	}
	leaf := chain[0]
	if s.want.replaces != nil && leaf.Equal(s.want.replaces) ||
		s.o.Now().After(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore)/2)) {
		return r, true, nil
	}
	if why := unfit(leaf, s.want); why != "" {
		return r, false, s.refuse(ctx, "the certificate", badAnswer{why})
	}
	return issuer.Reply{Status: issuer.Signed, Leaf: leaf, CAs: chain[1:]}, false, nil
}

// readChain parses a chain (RFC 8555 section 9.1): the leaf first, and each certificate signed by the next one.
func readChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" || len(chain) == maxChain {
			return nil, fmt.Errorf("its chain is not one of at most %d certificates", maxChain)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it cannot be read: " + text.OneLine(err.Error(), 200))
		}
		chain = append(chain, c)
	}
	if len(chain) < 2 {
		return nil, fmt.Errorf("its chain has %d certificates, must have the leaf and its issuer", len(chain))
	}
	for n, c := range chain[1:] {
		if !c.IsCA || !pki.IssuedBy(chain[n], c) {
			return nil, fmt.Errorf("its chain is broken: certificate %d is not signed by the next one", n+1)
		}
	}
	return chain, nil
}

// preferred returns the chain to the root with that name, else the first chain.
func preferred(chains [][]*x509.Certificate, root string) (chain []*x509.Certificate, found bool) {
	at := slices.IndexFunc(chains, func(c []*x509.Certificate) bool {
		last := c[len(c)-1]
		return last.Issuer.CommonName == root || last.Subject.CommonName == root
	})
	if root == "" || at < 0 {
		return chains[0], root == ""
	}
	return chains[at], true
}

// unfit says why a leaf does not fit the request; "" means that it does.
func unfit(leaf *x509.Certificate, w want) string {
	if !leaf.NotBefore.Before(leaf.NotAfter) {
		return "its notAfter is not later than its notBefore"
	}
	if !pki.SamePublicKey(leaf.PublicKey, w.csr.PublicKey) {
		return "it is for another key than that of the request"
	}
	for _, n := range w.names {
		if ip := net.ParseIP(n); ip != nil {
			if !slices.ContainsFunc(leaf.IPAddresses, ip.Equal) {
				return "it is not for " + n
			}
		} else if !slices.ContainsFunc(leaf.DNSNames, func(d string) bool { return strings.EqualFold(d, n) }) {
			return "it is not for " + n
		}
	}
	return ""
}
