package ca

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// NextGeneration gives the CA a new key under the same subject. In durable
// order: the old certificate, key and CRL are copied to gen-N; the new
// certificate signed by the old key lies there as cross.pem; then cakey.pem and
// cacert.pem change together, and the old CRL goes. A crash before that leaves
// the old generation in force and a copy that the next call uses again.
//
// The new one is self-issued: it does not count for the old one's pathlen of 0
// (RFC 5280 6.1.4 (l)).
func NextGeneration(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	l, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	obs, oldKey, err := open(disk, o.Dir)
	if err != nil {
		return nil, err
	}
	old := obs.Current.Cert
	key, err := pki.GenerateKey(o.Key, rnd)
	if err != nil {
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
	cross, err := create(t, old, key.Public(), oldKey, rnd)
	if err != nil {
		return nil, err
	}
	if err := retire(disk, o.Dir, obs, cross); err != nil {
		return nil, err
	}
	data, err := pki.MarshalKey(key)
	if err != nil {
		return nil, err
	}
	return cert, change(disk, o.Dir, data, pki.EncodeCertificate(cert.Raw))
}

// retire copies the generation in force to gen-N, certificate first: a folder
// without one never holds the only copy of a key.
func retire(disk *durable.Disk, dir string, obs Observed, cross *x509.Certificate) error {
	n := 1
	for _, g := range obs.Older {
		n = max(n, g.N+1)
	}
	to := filepath.Join(dir, fmt.Sprintf("gen-%d", n))
	if err := disk.Mkdir(to, dirMode); err != nil {
		return err
	}
	if err := disk.Replace(filepath.Join(to, certName), pki.EncodeCertificate(obs.Current.Cert.Raw), publicMode); err != nil {
		return err
	}
	key := durable.Read(filepath.Join(dir, keyName), maxFile)
	if key.Err != nil {
		return key.Err
	}
	if err := disk.Replace(filepath.Join(to, keyName), key.Data, keyMode); err != nil {
		return err
	}
	if crl := durable.Read(filepath.Join(dir, crlName), maxIndex); crl.Exists && crl.Err == nil {
		if err := disk.Replace(filepath.Join(to, crlName), crl.Data, publicMode); err != nil {
			return err
		}
	}
	return disk.Replace(filepath.Join(to, crossName), pki.EncodeCertificate(cross.Raw), publicMode)
}

// change puts the new key and certificate in force together.
func change(disk *durable.Disk, dir string, key, cert []byte) error {
	set := durable.OpenSet(disk, dir)
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	if err := set.Stage(keyName, key, keyMode); err != nil {
		return err
	}
	if err := set.Stage(certName, cert, publicMode); err != nil {
		return err
	}
	steps := []durable.Step{{Op: durable.OpInstall, Name: keyName, Digest: sum(key)}, {Op: durable.OpInstall, Name: certName, Digest: sum(cert)}}
	if durable.Look(filepath.Join(dir, crlName)).Kind != durable.Missing {
		steps = append(steps, durable.Step{Op: durable.OpRemove, Name: crlName})
	}
	return set.Commit(steps)
}

// Prune removes older generations that have no living certificate, their keys
// first. Their rows in index.txt and files in newcerts stay.
func Prune(ctx context.Context, disk *durable.Disk, dir string, now time.Time) error {
	l, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Unlock()
	for _, g := range Observe(dir, Filter{}).Older {
		if !g.ended(now) {
			continue
		}
		for _, name := range []string{keyName, crlName, crossName, certName} {
			if err := disk.Remove(filepath.Join(g.Dir, name)); err != nil {
				return err
			}
		}
		if err := disk.Remove(g.Dir); err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}
