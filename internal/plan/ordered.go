package plan

import (
	"cmp"
	"crypto/x509"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// orderedFrom begins the line before a certificate that mailcertd has ordered; the directory follows. OpenSSL skips the
// line. It keeps the certificate ours where the state is lost, as with a volatile /var: nothing else tells it from one
// that a person got from the same CA with another program.
const orderedFrom = "mailcertd ordered this certificate from "

// OrderLine is the line before a certificate that was ordered from that directory.
func OrderLine(directory string) string { return orderedFrom + directory + "\n" }

// directoryIn returns the directory from which mailcertd has ordered the first certificate of a file; "" means that the
// file does not say so.
func directoryIn(e certdir.CertEntry) string {
	line, _, _ := strings.Cut(e.File.Before, "\n")
	directory, found := strings.CutPrefix(line, orderedFrom)
	if !found {
		return ""
	}
	return strings.TrimSpace(directory)
}

// content is what the pair's certificate file holds: the leaf and, of an ACME CA, the certificates up to the root, with
// the line that says who ordered it. sendmail reads the leaf alone, and finds the others by the hash links of their
// copies in trust/.
func content(p *pair, c *x509.Certificate) []byte {
	data := encodeAll(append([]*x509.Certificate{c}, chainOf(p, c)...))
	if !p.isAnswer(c) {
		return data
	}
	by := cmp.Or(p.obs.State.ACME[p.is.Name].Of(pki.Fingerprint(c)), p.issuer.name())
	return append([]byte(OrderLine(by)), data...)
}
