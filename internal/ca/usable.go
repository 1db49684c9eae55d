package ca

import (
	"crypto/x509"
	"errors"
)

// unusable says why verifiers accept nothing that this certificate's key signs (RFC 5280 4.2.1.3 and 4.2.1.9); nil: it
// may sign. A certificate of version 1, which has no extensions, may.
func unusable(c *x509.Certificate) error {
	switch {
	case c.BasicConstraintsValid && !c.IsCA:
		return errors.New("it is not the certificate of a CA (basicConstraints CA:FALSE)")
	case c.Version == 3 && !c.BasicConstraintsValid:
		return errors.New("it is not the certificate of a CA (it has no basicConstraints)")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it may not sign certificates (keyUsage lacks keyCertSign)")
	}
	return nil
}

// signs says whether the current generation has a certificate that may sign.
func (o *Observed) signs() bool {
	return o.Current.Cert != nil && unusable(o.Current.Cert) == nil
}
