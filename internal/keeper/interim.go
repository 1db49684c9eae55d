package keeper

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// selfSigned makes the interim certificate of a pair: for the host's names, signed with the pair's own key, and with a
// subject that marks it as interim. It is served as long as no CA can sign.
func (in *installer) selfSigned(c *plan.Change, pair certdir.Pair, now time.Time) ([]byte, error) {
	n := durable.Read(in.Path(pair.KeyFile), certdir.MaxFile)
	if c.StagesKey(pair) {
		n = durable.OpenSet(in.o.Disk, in.cfg.Certs.Dir).Staged(pair.KeyFile)
	}
	if n.Err != nil {
		return nil, n.Err
	}
	key, err := pki.ParseKey(n.Data)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(in.o.Rand, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	id := pki.KeyID(key.Public())
	t := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{Organization: []string{plan.InterimOrganization}},
		NotBefore:             now.Add(-time.Hour).UTC().Truncate(time.Second),
		NotAfter:              now.Add(time.Duration(c.Interim.Days) * 24 * time.Hour).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
		AuthorityKeyId:        id,
	}
	if len(c.Interim.Name) <= 64 { // 64 characters is ub-common-name in RFC 5280.
		t.Subject.CommonName = c.Interim.Name
	}
	for _, n := range append([]string{c.Interim.Name}, c.Interim.AltNames...) {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(in.o.Rand, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificate(der), nil
}
