package ca

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"mailcertd/internal/pki"
)

// Request describes a certificate to be issued.
type Request struct {
	Public   crypto.PublicKey
	Name     string   // the host's name: first in the SAN, and the CN when it fits
	AltNames []string // more names and addresses
	Days     int
	// Backdate is how long before the time of signing the certificate becomes valid; zero: at that time.
	Backdate time.Duration
}

// maxCommonName is RFC 5280's ub-common-name, in octets.
const maxCommonName = 64

// leafTemplate is the certificate without its serial number. Its time is cut to that of the CA certificate. An error:
// no name is left, or the subject cannot be encoded.
func leafTemplate(o Options, req Request, ca *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	cn := req.Name
	if len(cn) > maxCommonName {
		cn = ""
	}
	s := o.Subject
	if cn == "" && s.Organization == "" && s.OrganizationalUnit == "" {
		s.OrganizationalUnit = "mail host" // `openssl ca` cannot work with an empty subject
	}
	name, err := s.name(cn)
	if err == nil && string(name) == string(ca.RawSubject) { // never the CA's own name
		s.OrganizationalUnit = "mail host"
		name, err = s.name(cn)
	}
	if err != nil {
		return nil, err
	}
	from := now.Add(-req.Backdate)
	if from.Before(ca.NotBefore) {
		from = ca.NotBefore
	}
	until := now
	if until.Before(from) { // the clock is behind the CA's notBefore
		until = from
	}
	until = until.Add(time.Duration(req.Days) * 24 * time.Hour)
	if until.After(ca.NotAfter) {
		until = ca.NotAfter
	}
	t := &x509.Certificate{
		RawSubject: name, NotBefore: from.UTC().Truncate(time.Second), NotAfter: until.UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          pki.KeyID(req.Public), AuthorityKeyId: ca.SubjectKeyId,
	}
	if _, ok := req.Public.(*rsa.PublicKey); ok { // RSA key exchange of TLS 1.2 and before
		t.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	seen := map[string]bool{}
	for _, n := range append([]string{req.Name}, req.AltNames...) {
		ip := net.ParseIP(n)
		if ip != nil {
			n = ip.String()
		}
		if n == "" || seen[n] {
			continue
		}
		seen[n] = true
		if ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if len(t.DNSNames)+len(t.IPAddresses) == 0 {
		return nil, errors.New("a certificate without any name was requested")
	}
	return t, nil
}

// allowed returns an error where the name constraints of the CA certificate forbid a name of c.
func allowed(c, ca *x509.Certificate) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: c.NotBefore,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName {
		return fmt.Errorf("the CA may not certify this name (see ca.permitted_domains): %w", err)
	}
	return nil
}
