package ca

import (
	"errors"
	"fmt"
	"io/fs"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// signerFaults reports why the CA cannot sign: it has no usable key, no usable certificate, or two that do not belong
// together.
func signerFaults(o *Observed) []Fault {
	key, cert, caplKey := o.path(keyName), o.path(certName), o.path(caplKeyName)
	switch {
	case o.Key.Kind == durable.Missing && durable.Look(caplKey).Exists:
		return []Fault{{Kind: FaultKeyElsewhere, Path: caplKey, Want: keyName, Hint: fmt.Sprintf(
			"CA.pl and the standard openssl.cnf keep it there; to make mailcertd adopt this CA, run "+
				"`install -m 0600 %s %s`", caplKey, key)}}
	case o.KeyInfo.Err != nil && !o.KeyInfo.Encrypted:
		return []Fault{{Kind: FaultKey, Path: key, Got: reason(o.KeyInfo.Err), Hint: converted(o.KeyInfo.Err, key)}}
	case o.Current.Cert == nil:
		err := uncertified(cert)
		return []Fault{{Kind: FaultCert, Path: cert, Got: reason(err), Hint: converted(err, cert)}}
	case !o.signs():
		return []Fault{{Kind: FaultCert, Path: cert, Got: unusable(o.Current.Cert).Error()}}
	case o.Status == Damaged:
		return []Fault{{Kind: FaultPair, Path: key}}
	}
	return nil
}

// uncertified is why no certificate can be read from a file; nil: by now one can.
func uncertified(path string) error {
	switch n := durable.Read(path, maxFile); {
	case n.Err != nil:
		return n.Err
	case !n.Exists:
		return fs.ErrNotExist
	default:
		return pki.ReadCertFile(n.Data).Err
	}
}

// reason says why a file of the CA cannot be used. A nil error means that the file was unusable when it was read and is
// usable by now.
func reason(err error) string {
	switch {
	case err == nil:
		return "it changed while it was read"
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing"
	}
	return err.Error()
}

// converted is the hint for a file of the CA that is not in PEM, the only form that openssl ca reads; "" where err has
// another cause.
func converted(err error, path string) string {
	c := pki.ConversionOf(err, path)
	if c.Command == "" {
		return c.Advice
	}
	return "run `" + c.Command + " && mv " + c.Out + " " + c.In + "`"
}
