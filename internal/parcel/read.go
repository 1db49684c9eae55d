// Package parcel reads and writes parcels: one file with key, leaf and chain, carried by hand.
package parcel

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"mailcertd/internal/pki"
)

// Passphrase asks for the passphrase of an encrypted key; nil where there is no terminal to ask on.
type Passphrase func(opens func([]byte) error) ([]byte, error)

// Parcel is the content of a file that a person wants to install.
type Parcel struct {
	Key    crypto.Signer // nil: the file has no key
	KeyPEM []byte
	DER    bool              // the file was a certificate in DER
	Leaf   *x509.Certificate // nil: the file has only CA certificates
	Middle []*x509.Certificate
	Roots  []*x509.Certificate
}

// Read parses a file with its parts in any order. path is for messages; "" where it is unknown.
func Read(data []byte, path string, passphrase Passphrase) (Parcel, error) {
	var p Parcel
	certs := pki.CertFile{}
	if pem := pki.CertificateFromDER(data); pem != nil {
		data, p.DER = pem, true
	}
	if bytes.Contains(data, []byte("CERTIFICATE-----")) {
		certs = pki.ReadCertFile(data)
		if certs.Err != nil {
			return p, certs.Err
		}
	}
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		info := pki.ReadKeyFile(data)
		if info.Keys > 1 {
			return p, fmt.Errorf("contains %d private keys, must contain one", info.Keys)
		}
		var secret []byte
		if info.Encrypted {
			if passphrase == nil {
				return p, info.Err
			}
			var err error
			if secret, err = passphrase(func(s []byte) error {
				_, err := pki.Decrypt(data, s)
				return err
			}); err != nil {
				return p, err
			}
		}
		var err error
		if p.Key, err = pki.Decrypt(data, secret); err != nil {
			return p, fmt.Errorf("its key %w", err)
		}
		if p.KeyPEM = pki.StripCertificates(data); info.Encrypted {
			if p.KeyPEM, err = pki.MarshalKey(p.Key); err != nil {
				return p, err
			}
		}
	}
	if p.Key == nil && len(certs.Certs) == 0 {
		return p, notTaken(data, path)
	}
	return p, p.sort(certs.Certs)
}

// notTaken names the format of a file that cannot be installed.
func notTaken(data []byte, path string) error {
	switch form := pki.FormOf(data, path); {
	case form.Name == "":
		return pki.ErrGarbage
	case form.Command == "":
		return fmt.Errorf("is %s, must be certificate and key in PEM", form.Name)
	default:
		return fmt.Errorf("is %s, must be certificate and key in PEM: %s", form.Name, form.Command)
	}
}

// sort separates the host's certificate from the CA certificates.
func (p *Parcel) sort(certs []*x509.Certificate) error {
	var leaves []*x509.Certificate
	for _, c := range certs {
		mine := p.Key != nil && pki.SamePublicKey(c.PublicKey, p.Key.Public())
		switch {
		case mine || !c.IsCA && !pki.SelfSigned(c):
			if !slices.ContainsFunc(leaves, c.Equal) {
				leaves = append(leaves, c)
			}
		case pki.SelfSigned(c):
			p.Roots = append(p.Roots, c)
		default:
			p.Middle = append(p.Middle, c)
		}
	}
	switch len(leaves) {
	case 0:
		if p.Key != nil {
			return errors.New("contains a key, but no certificate for it")
		}
		return nil
	case 1:
		p.Leaf = leaves[0]
		return nil
	}
	return fmt.Errorf("contains %d certificates for hosts, must contain one and its chain", len(leaves))
}
