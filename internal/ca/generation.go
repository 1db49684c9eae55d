package ca

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// StartNext makes the CA's next generation in next/, where it waits for Promote: the same subject, a new key, and a
// certificate that the present key has signed. In durable order: the key, that certificate (cross.pem), and the
// self-signed certificate last, since its presence means that the next generation exists. If it exists already it is
// returned unchanged; a key that an interrupted call left is used again.
//
// The certificate in cross.pem is self-issued, so that it does not count for the present CA's pathlen of 0 (RFC 5280
// 6.1.4 (l)).
func StartNext(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader,
	now time.Time) (*x509.Certificate, error) {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.obs.HasNext() {
		return s.obs.Next.Cert, nil
	}
	if has(s.obs.Faults, FaultNext) {
		return nil, fmt.Errorf("%s: %w: %s; move it away", filepath.Join(o.Dir, nextName), ErrDamaged, FaultNext)
	}
	old, dir := s.obs.Current.Cert, filepath.Join(o.Dir, nextName)
	if err := disk.Mkdir(dir, dirMode); err != nil {
		return nil, err
	}
	keyPath := filepath.Join(dir, keyName)
	key, err := readKey(keyPath, o.Passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = newKeyFile(ctx, disk, keyPath, o, s.obs.KeyInfo.Encrypted, rnd); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	cert, err := selfSign(o, key, old, rnd, now)
	if err != nil {
		return nil, err
	}
	t, err := rootTemplate(o, key.Public(), rnd, now)
	if err != nil {
		return nil, err
	}
	t.RawSubject = old.RawSubject
	t.AuthorityKeyId = old.SubjectKeyId
	if t.NotBefore.Before(old.NotBefore) {
		t.NotBefore = old.NotBefore
	}
	if t.NotAfter.After(old.NotAfter) {
		t.NotAfter = old.NotAfter
	}
	cross, err := create(t, old, key.Public(), s.key, rnd)
	if err != nil {
		return nil, err
	}
	if err := disk.Replace(filepath.Join(dir, crossName), pki.EncodeCertificate(cross.Raw), publicMode); err != nil {
		return nil, err
	}
	return cert, disk.Replace(filepath.Join(dir, certName), pki.EncodeCertificate(cert.Raw), publicMode)
}

// Promote puts the next generation in force. In durable order: the old
// certificate, key, CRL and the cross-signed certificate are copied to gen-N;
// cakey.pem, cacert.pem and crl.pem change together; next/ goes. A
// crash before the change leaves the old generation in force and a copy that
// the next call uses again.
func Promote(ctx context.Context, disk *durable.Disk, o Options) (*x509.Certificate, error) {
	l, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	obs, err := reconcile(disk, o.Dir, o.Memory)
	if err != nil {
		return nil, err
	}
	switch {
	case !obs.HasNext():
		return nil, fmt.Errorf("%s: %w", filepath.Join(o.Dir, nextName), fs.ErrNotExist)
	case obs.Status != Complete:
		return nil, fmt.Errorf("%s: %w (%s)", o.Dir, ErrDamaged, obs.Status)
	}
	next := obs.Next
	if err := retire(disk, o.Dir, obs, next.Cross); err != nil {
		return nil, err
	}
	key := durable.Read(filepath.Join(next.Dir, keyName), maxFile)
	if key.Err != nil {
		return nil, key.Err
	}
	crl := durable.Read(filepath.Join(next.Dir, CRLName), maxIndex)
	if crl.Err != nil {
		return nil, crl.Err
	}
	if err := change(disk, o.Dir, key.Data, pki.EncodeCertificate(next.Cert.Raw), crl.Data); err != nil {
		return nil, err
	}
	return next.Cert, dropNext(disk, o.Dir)
}

// dropNext removes next/, whose certificate is in force now. It removes the key first: StartNext would use a key
// without a certificate again.
func dropNext(disk *durable.Disk, dir string) error {
	if err := disk.RemoveDir(filepath.Join(dir, nextName), keyName, CRLName, crossName, certName); err != nil {
		return err
	}
	return disk.SyncDir(dir)
}

// retire copies the generation in force to gen-N, the certificate first, so that a directory without a certificate
// never holds the only copy of a key.
func retire(disk *durable.Disk, dir string, obs Observed, cross *x509.Certificate) error {
	n := 1
	for _, g := range obs.Older {
		if g.Cert != nil || g.HasKey { // otherwise an interrupted call left an empty directory
			n = max(n, g.N+1)
		}
	}
	to := filepath.Join(dir, fmt.Sprintf("gen-%d", n))
	if err := disk.Mkdir(to, dirMode); err != nil {
		return err
	}
	if err := disk.Replace(filepath.Join(to, certName), pki.EncodeCertificate(obs.Current.Cert.Raw),
		publicMode); err != nil {
		return err
	}
	key := durable.Read(filepath.Join(dir, keyName), maxFile)
	if key.Err != nil {
		return key.Err
	}
	if err := disk.Replace(filepath.Join(to, keyName), key.Data, keyMode); err != nil {
		return err
	}
	crl := durable.Read(filepath.Join(dir, CRLName), maxIndex)
	if crl.Unread() { // without a copy, the change would lose it
		return crl.Err
	}
	if crl.Exists && crl.Err == nil {
		if err := disk.Replace(filepath.Join(to, CRLName), crl.Data, publicMode); err != nil {
			return err
		}
	}
	return disk.Replace(filepath.Join(to, crossName), pki.EncodeCertificate(cross.Raw), publicMode)
}

// change replaces key, certificate and CRL together; without a new CRL it removes the old one.
func change(disk *durable.Disk, dir string, key, cert, crl []byte) error {
	set := durable.OpenSet(disk, dir)
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	if err := set.Stage(keyName, key, keyMode); err != nil {
		return err
	}
	if err := set.Stage(certName, cert, publicMode); err != nil {
		return err
	}
	steps := []durable.Step{{Op: durable.OpInstall, Name: keyName, Digest: sum(key)},
		{Op: durable.OpInstall, Name: certName, Digest: sum(cert)}}
	if len(crl) > 0 {
		if err := set.Stage(CRLName, crl, publicMode); err != nil {
			return err
		}
		steps = append(steps, durable.Step{Op: durable.OpInstall, Name: CRLName, Digest: sum(crl)})
	} else if durable.Look(filepath.Join(dir, CRLName)).Kind != durable.Missing {
		steps = append(steps, durable.Step{Op: durable.OpRemove, Name: CRLName})
	}
	return set.Commit(steps)
}

// Prune removes each older generation that has ended, as have all that are older: first its key. Rows in index.txt and
// files in newcerts stay.
func Prune(ctx context.Context, disk *durable.Disk, dir string, now time.Time) error {
	l, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Unlock()
	o := Observe(dir, Filter{})
	if o.Err != nil {
		return o.Err
	}
	for _, g := range o.Older {
		if !o.prunable(g, now) {
			continue
		}
		err := disk.RemoveDir(g.Dir, keyName, CRLName, crossName, certName)
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
			continue // a person has put files there: the directory stays without the generation
		} else if err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}
