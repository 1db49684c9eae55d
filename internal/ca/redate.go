package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Redate signs the certificate of the generation in force again, where it begins after now and mailcertd made the CA,
// and the certificates of the next generation that begin after now. Key, subject and extensions stay, so that
// everything that the key has signed stays valid. The new certificates begin an hour before now and are valid for as
// long as the old ones, but a cross-signed one no longer than its issuer.
func Redate(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader, now time.Time) error {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return err
	}
	defer s.Close()
	defer o.Memory.forget()
	current := s.obs.Current.Cert
	if s.obs.Made && pki.SelfSigned(current) && now.Before(current.NotBefore) {
		if current, err = again(current, nil, s.key, rnd, now); err != nil {
			return err
		}
		if err := disk.Replace(filepath.Join(o.Dir, certName), pki.EncodeCertificate(current.Raw),
			publicMode); err != nil {
			return err
		}
	}
	next := s.obs.Next
	if !s.obs.HasNext() {
		return nil
	}
	if next.Cross != nil && now.Before(next.Cross.NotBefore) {
		cross, err := again(next.Cross, current, s.key, rnd, now)
		if err != nil {
			return err
		}
		if err := disk.Replace(filepath.Join(next.Dir, crossName), pki.EncodeCertificate(cross.Raw),
			publicMode); err != nil {
			return err
		}
	}
	if !now.Before(next.Cert.NotBefore) {
		return nil
	}
	key, err := readKey(filepath.Join(next.Dir, keyName), o.Passphrase)
	if err != nil {
		return err
	}
	if !pki.SamePublicKey(key.Public(), next.Cert.PublicKey) {
		return fmt.Errorf("%s: %w: the key does not belong to its certificate", next.Dir, ErrDamaged)
	}
	cert, err := again(next.Cert, nil, key, rnd, now)
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(next.Dir, certName), pki.EncodeCertificate(cert.Raw), publicMode)
}

// again signs c with another serial and time, by key. by is the issuer's certificate; nil: c is a root.
func again(c, by *x509.Certificate, key crypto.Signer, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	serial, err := rootSerial(rnd)
	if err != nil {
		return nil, err
	}
	from := now.Add(-backdate).UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: serial, RawSubject: c.RawSubject, ExtraExtensions: c.Extensions,
		NotBefore: from, NotAfter: from.Add(c.NotAfter.Sub(c.NotBefore)),
	}
	if by == nil {
		by = t
	} else if t.NotAfter.After(by.NotAfter) {
		t.NotAfter = by.NotAfter
	}
	return create(t, by, c.PublicKey, key, rnd)
}
