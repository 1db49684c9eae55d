package ca

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Request is a certificate to be issued.
type Request struct {
	Public   crypto.PublicKey
	Name     string   // the host's name: first in the SAN, and the CN when it fits
	AltNames []string // more names and addresses
	Days     int
	// Backdate is how far the beginning lies back; zero: not at all.
	Backdate time.Duration
	// Floor is a serial number that must be exceeded; nil: none.
	Floor *big.Int
}

// maxCommonName is RFC 5280's ub-common-name, in octets.
const maxCommonName = 64

// Issue signs a certificate. In durable order: the serial number is taken (a
// crash leaves a gap), the certificate lies in newcerts (a crash leaves an
// orphan, which Reconcile gives its row), then index.txt has its row. The
// certificate does not outlive its CA.
func Issue(ctx context.Context, disk *durable.Disk, o Options, req Request, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	l, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	obs, key, err := open(disk, o.Dir)
	if err != nil {
		return nil, err
	}
	if end := obs.Current.Cert.NotAfter; !now.Before(end) {
		return nil, fmt.Errorf("%s: %w on %s", filepath.Join(o.Dir, certName), ErrEnded, end.UTC().Format(time.RFC3339))
	}
	t, err := leafTemplate(o, req, obs.Current.Cert, now)
	if err != nil {
		return nil, err
	}
	t.SerialNumber = obs.Serial
	if f := req.Floor; f != nil && t.SerialNumber.Cmp(f) <= 0 {
		t.SerialNumber = new(big.Int).Add(f, big.NewInt(1))
	}
	if err := writeSerial(disk, o.Dir, new(big.Int).Add(t.SerialNumber, big.NewInt(1))); err != nil {
		return nil, err
	}
	cert, err := create(t, obs.Current.Cert, req.Public, key, rnd)
	if err != nil {
		return nil, err
	}
	if err := allowed(cert, obs.Current.Cert); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Dir, newCertsName, FormatSerial(cert.SerialNumber)+".pem")
	if err := disk.Replace(path, pki.EncodeCertificate(cert.Raw), publicMode); err != nil {
		return nil, err
	}
	return cert, mendIndex(disk, &obs)
}

// open mends the database and gives the CA and its key, ready to sign. The
// caller holds the lock.
func open(disk *durable.Disk, dir string) (Observed, crypto.Signer, error) {
	if err := reconcile(disk, dir); err != nil {
		return Observed{}, nil, err
	}
	obs := Observe(dir, Filter{})
	switch {
	case obs.Err != nil:
		return obs, nil, obs.Err
	case obs.KeyInfo.Encrypted:
		return obs, nil, fmt.Errorf("%s: %w", obs.Key.Path, ErrLocked)
	case obs.Status != Complete:
		return obs, nil, fmt.Errorf("%s: %w (%s)", dir, ErrDamaged, obs.Status)
	}
	key, err := readKey(filepath.Join(dir, keyName))
	return obs, key, err
}

// leafTemplate is everything but the serial number.
func leafTemplate(o Options, req Request, ca *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	cn := req.Name
	if len(cn) > maxCommonName {
		cn = ""
	}
	s := o.Subject
	if cn == "" && s.Organization == "" && s.OrganizationalUnit == "" {
		s.OrganizationalUnit = "mail host" // openssl ca has no use for an empty subject
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
	if until.Before(from) { // a clock that runs behind, and nothing to serve
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
		return nil, errors.New("a certificate without any name was asked for")
	}
	return t, nil
}

// allowed refuses a certificate that the CA's own name constraints forbid.
func allowed(c, ca *x509.Certificate) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: c.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName {
		return fmt.Errorf("the CA may not certify this name (ca.permitted_domains): %w", err)
	}
	return nil
}
