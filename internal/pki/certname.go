package pki

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
)

// HasSAN says whether a certificate has names in its subjectAltName, the only place where RFC 9525 looks for them.
func HasSAN(c *x509.Certificate) bool { return len(c.DNSNames)+len(c.IPAddresses) > 0 }

// CertNames returns the names and addresses that a certificate is for, in the form of CanonicalNames: its
// subjectAltName, or its common name where it has none.
func CertNames(c *x509.Certificate) []string {
	if !HasSAN(c) {
		return CanonicalNames([]string{c.Subject.CommonName})
	}
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return CanonicalNames(all)
}

// CanonicalNames returns names in one form: addresses as net.IP prints them, host names in lower case without a last
// dot. Empty names and repetitions are left out; the order stays.
func CanonicalNames(names []string) []string {
	var out []string
	for _, n := range names {
		if n = CanonicalName(n); n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// CanonicalName does the same for one name.
func CanonicalName(n string) string {
	if ip := net.ParseIP(n); ip != nil {
		return ip.String()
	}
	return strings.ToLower(strings.TrimSuffix(n, "."))
}
