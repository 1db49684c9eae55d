package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// The modes of directories, keys and public files in the CA directory. Its own mode, 0700, keeps other users out.
const (
	dirMode    = 0o700
	keyMode    = 0o600
	publicMode = 0o644
)

// backdate is how long before the time of signing a certificate becomes valid, so that a host whose clock is a little
// behind accepts it.
const backdate = time.Hour

// Init creates the CA, or continues where an interrupted Init stopped, with the key that it left. Where nothing is at
// o.Dir, the CA is made in a temporary directory, which is then renamed (makeBeside). In an existing directory the
// order is: openssl.cnf, whose first line says that mailcertd made the rest; cakey.pem, newcerts, serial, index.txt,
// index.txt.attr, crlnumber; and cacert.pem last, since its presence means that the CA exists. Existing files of a
// person stay.
//
// Errors: ErrExists, ErrDamaged, ErrLocked (the key that was left has a passphrase, and o.Passphrase is nil).
func Init(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	if n := durable.Look(o.Dir); !o.Unfinished && n.Kind == durable.Missing {
		if c, err := makeBeside(ctx, disk, o, rnd, now); !errors.Is(err, errBeside) {
			return c, err
		}
	}
	if !o.Unfinished {
		if err := disk.MkdirAll(o.Dir, dirMode); err != nil {
			return nil, err
		}
	}
	l, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	obs := Observe(o.Dir, Filter{})
	switch {
	case obs.Err != nil:
		return nil, obs.Err
	case obs.Status == Complete:
		return nil, fmt.Errorf("%s: %w", o.Dir, ErrExists)
	case obs.Status == Damaged, o.Unfinished && obs.Status != Unfinished:
		return nil, fmt.Errorf("%s: %w", o.Dir, ErrDamaged)
	case obs.KeyInfo.Encrypted && o.Passphrase == nil:
		return nil, fmt.Errorf("%s: %w", obs.Key.Path, ErrLocked)
	}
	if err := o.fits(); err != nil { // before anything is made
		return nil, err
	}
	if obs.Dir.Mode.Perm()&0o077 != 0 {
		path, err := resolved(o.Dir)
		if err == nil {
			err = disk.Chmod(path, dirMode)
		}
		if err != nil {
			return nil, err
		}
	}
	if path := filepath.Join(o.Dir, confName); obs.Status == Absent && durable.Look(path).Kind == durable.Missing {
		if err := disk.Replace(path, conf(o, madeMark), publicMode); err != nil {
			return nil, err
		}
	}
	key, err := initKey(ctx, disk, o, obs, rnd)
	if err != nil {
		return nil, err
	}
	cert, err := selfSign(o, key, nil, rnd, now)
	if err != nil {
		return nil, err
	}
	if err := disk.Mkdir(filepath.Join(o.Dir, NewCertsDir), dirMode); err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, text string }{{serialName, firstNumber}, {indexName, ""}, {attrName, firstAttr}} {
		path := filepath.Join(o.Dir, f.name)
		if durable.Look(path).Kind != durable.Missing {
			continue
		}
		if err := disk.Replace(path, []byte(f.text), publicMode); err != nil {
			return nil, err
		}
	}
	if err := supply(disk, o.Dir, o); err != nil {
		return nil, err
	}
	if err := disk.Replace(filepath.Join(o.Dir, certName), pki.EncodeCertificate(cert.Raw), publicMode); err != nil {
		return nil, err
	}
	return cert, nil
}

func initKey(ctx context.Context, disk *durable.Disk, o Options, obs Observed, rnd io.Reader) (crypto.Signer, error) {
	path := filepath.Join(o.Dir, keyName)
	if obs.Status == Unfinished {
		return readKey(path, o.Passphrase)
	}
	return newKeyFile(ctx, disk, path, o, o.Passphrase != nil, rnd)
}

// newKeyFile makes a key and writes it to path. A key that is to be encrypted is encrypted before the first write, so
// that it never is on the disk in clear text.
func newKeyFile(ctx context.Context, disk *durable.Disk, path string, o Options, encrypt bool,
	rnd io.Reader) (crypto.Signer, error) {
	key, data, err := makeKey(ctx, o, encrypt, rnd)
	if err != nil {
		return nil, err
	}
	return key, disk.Replace(path, data, keyMode)
}

// makeKey makes a key of the type o.Key, and the PEM text of its file.
func makeKey(ctx context.Context, o Options, encrypt bool, rnd io.Reader) (key crypto.Signer, file []byte, err error) {
	if key, err = pki.GenerateKeyContext(ctx, o.Key, rnd); err != nil {
		return nil, nil, err
	}
	if encrypt {
		file, err = pki.Encrypt(key, o.Passphrase, rnd)
	} else {
		file, err = pki.MarshalKey(key)
	}
	return key, file, err
}

func readKey(path string, passphrase []byte) (crypto.Signer, error) {
	n := durable.Read(path, maxFile)
	if n.Err != nil {
		return nil, n.Err
	}
	if n.Kind == durable.Missing {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if passphrase == nil {
		key, err := pki.ParseKey(n.Data)
		if errors.Is(err, pki.ErrEncrypted) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	key, err := pki.Decrypt(n.Data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// Unlocks returns nil where passphrase decrypts the CA key in dir. The error is pki.ErrPassphrase for a wrong
// passphrase.
func Unlocks(dir string, passphrase []byte) error {
	_, err := readKey(filepath.Join(dir, keyName), passphrase)
	return err
}

// fits returns an error where the options would make a CA that cannot sign for its own host.
func (o Options) fits() error {
	if _, err := o.subject(); err != nil {
		return err
	}
	if o.Host != "" && !pki.Permitted(o.PermittedDomains, o.Host) {
		return fmt.Errorf("ca.permitted_domains does not include this host, %s, so it could not get a certificate",
			o.Host)
	}
	return nil
}

// subject is the CA's own name. It is an error if that is also the host's name: a verifier could take the host's
// certificate for that of the CA.
func (o Options) subject() ([]byte, error) {
	cn := o.Subject.CommonName
	if cn == "" {
		cn = "mailcertd CA"
		if o.Host != "" {
			cn += " " + o.Host
		}
		if len(cn) > 64 { // RFC 5280 ub-common-name
			cn = cn[:64]
		}
	}
	if cn == o.Host {
		return nil,
			fmt.Errorf(
				"ca.subject.common_name is %q, the name of this host: the CA and a host must not have the same name",
				cn)
	}
	return o.Subject.name(cn)
}

// selfSign signs a root certificate: critical CA:TRUE with pathlen 0, keyCertSign and cRLSign (RFC 5280 4.2.1.3,
// 4.2.1.9), and a random positive serial of at most 16 octets. With before, the new root has the subject of that
// certificate, byte for byte.
func selfSign(o Options, key crypto.Signer, before *x509.Certificate, rnd io.Reader,
	now time.Time) (*x509.Certificate, error) {
	t, err := rootTemplate(o, key.Public(), rnd, now)
	if err != nil {
		return nil, err
	}
	if before != nil {
		t.RawSubject = before.RawSubject
	}
	t.AuthorityKeyId = t.SubjectKeyId
	return create(t, t, key.Public(), key, rnd)
}

func rootTemplate(o Options, pub crypto.PublicKey, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	name, err := o.subject()
	if err != nil {
		return nil, err
	}
	serial, err := rootSerial(rnd)
	if err != nil {
		return nil, err
	}
	from := now.Add(-backdate).UTC().Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber: serial, RawSubject: name,
		NotBefore: from, NotAfter: from.Add(backdate + time.Duration(o.Days)*24*time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, MaxPathLenZero: true,
		BasicConstraintsValid: true,
		SubjectKeyId:          pki.KeyID(pub),
		PermittedDNSDomains:   o.PermittedDomains, PermittedDNSDomainsCritical: len(o.PermittedDomains) > 0,
	}, nil
}

// rootSerial draws a positive number of at most 16 octets.
func rootSerial(rnd io.Reader) (*big.Int, error) {
	n, err := rand.Int(rnd, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

func create(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer,
	rnd io.Reader) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rnd, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
