package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Session is the CA open for signing: locked, its database repaired and in memory, its key read. Close it soon: others
// wait.
type Session struct {
	disk *durable.Disk
	o    Options
	lock *durable.Locked
	obs  Observed
	key  crypto.Signer
}

// Open locks the CA, repairs what can be repaired, and reads its key. ErrLocked: the key has a passphrase and none was
// given; pki.ErrPassphrase: it is another one; ErrDamaged: it cannot be used as it is.
func Open(ctx context.Context, disk *durable.Disk, o Options) (*Session, error) {
	l, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := open(disk, o)
	if err != nil {
		l.Unlock()
		return nil, err
	}
	s.lock = l
	return s, nil
}

// Close lets others in. A second call does nothing.
func (s *Session) Close() {
	if s.lock != nil {
		s.lock.Unlock()
		s.lock = nil
	}
}

// open is Open for who holds the lock.
func open(disk *durable.Disk, o Options) (*Session, error) {
	obs, err := reconcile(disk, o.Dir, o.Memory)
	if err != nil {
		return nil, err
	}
	switch {
	case obs.KeyInfo.Encrypted && o.Passphrase == nil:
		return nil, fmt.Errorf("%s: %w", obs.Key.Path, ErrLocked)
	case obs.Status != Complete:
		return nil, fmt.Errorf("%s: %w (%s)", o.Dir, ErrDamaged, obs.Status)
	}
	key, err := readKey(filepath.Join(o.Dir, keyName), o.Passphrase)
	if err != nil {
		return nil, err
	}
	if !pki.SamePublicKey(key.Public(), obs.Current.Cert.PublicKey) {
		return nil, fmt.Errorf("%s: %w: the key does not belong to its certificate", o.Dir, ErrDamaged)
	}
	return &Session{disk: disk, o: o, obs: obs, key: key}, nil
}

// Observed is the CA as it was when the session began, with what it did since.
func (s *Session) Observed() Observed { return s.obs }

// Issue signs a certificate with a session of its own.
func Issue(ctx context.Context, disk *durable.Disk, o Options, req Request, rnd io.Reader,
	now time.Time) (*x509.Certificate, error) {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Issue(req, rnd, now)
}

// ErrMade says that an operation failed when its certificate existed already, or
// may exist: its key must be kept, and the same request again completes it. Test
// with errors.Is.
var ErrMade = errors.New("the certificate is signed, but a later step failed")

// Issue signs a certificate. In durable order: the certificate is in newcerts (a crash leaves an orphan, which
// Reconcile gives its row), then index.txt has its row. The serial file, by which openssl counts, is left alone. The
// certificate does not outlive its CA. An error that is ErrMade came after it.
func (s *Session) Issue(req Request, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	if err := s.refresh(); err != nil {
		return nil, err
	}
	dir, current := s.o.Dir, s.obs.Current.Cert
	if end := current.NotAfter; !now.Before(end) {
		return nil, fmt.Errorf("%s: %w on %s", filepath.Join(dir, certName), ErrEnded, end.UTC().Format(time.RFC3339))
	}
	t, err := leafTemplate(s.o, req, current, now)
	if err != nil {
		return nil, err
	}
	if t.SerialNumber, err = s.obs.drawSerial(rnd); err != nil {
		return nil, err
	}
	cert, err := create(t, current, req.Public, s.key, rnd)
	if err != nil {
		return nil, err
	}
	if err := allowed(cert, current); err != nil {
		return nil, err
	}
	if m := s.o.Memory; m != nil && m.db == s.obs.db && !m.holds() {
		m.Forget() // another program has put a certificate into newcerts: the next look finds it
	}
	name := FormatSerial(cert.SerialNumber) + ".pem"
	if err := s.disk.Replace(filepath.Join(dir, newCertsName, name), pki.EncodeCertificate(cert.Raw),
		publicMode); err != nil {
		s.o.Memory.Forget()
		if n := durable.Look(filepath.Join(dir, newCertsName, name)); n.Kind != durable.Missing {
			err = fmt.Errorf("%w: %w", ErrMade, err)
		}
		return nil, err
	}
	err = s.addRow(cert)
	for patient := newPatience(); gone(err) && patient.wait(); { // openssl has put its own index.txt there, or is at it
		if err = s.reread(); err == nil {
			err = s.addRow(cert)
		}
	}
	if err != nil {
		s.o.Memory.Forget()
		return nil, fmt.Errorf("%w: %w", ErrMade, err)
	}
	return cert, nil
}

// addRow adds the row of a new certificate to index.txt: at its end, one write. What a crash leaves of it is cut off
// and the certificate, which is in newcerts, gets its row again.
func (s *Session) addRow(c *x509.Certificate) error {
	e, db, path := entryFor(c), s.obs.db, filepath.Join(s.o.Dir, indexName)
	if !saysNotUnique(s.o.Dir) {
		if twice, err := db.has(e.Subject); err != nil {
			return err
		} else if twice { // the attribute first: openssl must never meet the rows without it
			if err := notUnique(s.disk, s.o.Dir); err != nil {
				return err
			}
		}
	}
	row := formatIndex([]Entry{e})
	if !db.node.IsRegular || !db.whole || db.torn {
		if err := s.rewrite(func(data []byte) []byte { return append(data, row...) }); err != nil {
			return err
		}
		s.o.Memory.Forget() // the next one reads what it is now
		db.node = durable.Node{}
		return nil
	}
	to, err := resolved(path)
	if err == nil {
		err = appendRow(s.disk, to, row)
	}
	if err != nil {
		return err
	}
	now := durable.Look(path)
	if now.Err != nil || now.Ino != db.node.Ino || now.Dev != db.node.Dev || now.Size != db.node.Size+int64(len(row)) {
		s.o.Memory.Forget() // another program changed it meanwhile
		db.node = durable.Node{}
		return nil
	}
	if m := s.o.Memory; m != nil && m.db == db {
		m.added(s.o.Dir, row[:len(row)-1], now)
	} else {
		m.Forget()
		db.added(row[:len(row)-1])
		db.node = now
	}
	s.obs.Rows = db.rows
	return nil
}

// rewrite changes index.txt as a whole. What change gets ends with a line feed, and has no torn row.
func (s *Session) rewrite(change func(data []byte) []byte) error {
	path := filepath.Join(s.o.Dir, indexName)
	have := durable.Read(path, maxIndex)
	if have.Err != nil {
		return have.Err
	}
	if !same(have, s.obs.db.node) {
		return fmt.Errorf("%s: %w", path, errMoved)
	}
	data := have.Data
	if s.obs.db.torn {
		data = data[:lastLine(data)]
	} else if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data[:len(data):len(data)], '\n')
	}
	return put(s.disk, path, change(data), publicMode)
}

// appendRow writes a row at the end of index.txt. A file that was there and is gone is waited for: openssl, which knows
// no lock, is putting its own in its place.
func appendRow(disk *durable.Disk, path string, row []byte) error {
	err := disk.Append(path, row)
	for patient := newPatience(); errors.Is(err, fs.ErrNotExist) && patient.wait(); {
		err = disk.Append(path, row)
	}
	return err
}

// Reasons are what a revocation may say, openssl-ca(1) -crl_reason, with their
// codes (RFC 5280 5.3.1).
func Reasons() map[string]int { return maps.Clone(reasonCodes) }

var reasonCodes = map[string]int{"unspecified": 0, "keyCompromise": 1, "CACompromise": 2, "affiliationChanged": 3,
	"superseded": 4, "cessationOfOperation": 5, "certificateHold": 6}

// Why a revocation is refused. Test with errors.Is.
var (
	ErrUnknown = errors.New("the CA on this host has no such certificate")
	ErrRevoked = errors.New("is already revoked")
)

// Revoke marks the certificate with that serial as revoked, in its row. reason
// "" is none. The CRL does not have it before WriteCRL.
func (s *Session) Revoke(serial *big.Int, reason string, now time.Time) error {
	if _, known := Reasons()[reason]; reason != "" && !known {
		return fmt.Errorf("%q is not a reason for a revocation", reason)
	}
	for patient := newPatience(); ; {
		if err := s.revoke(serial, reason, now); !errors.Is(err, errMoved) || !patient.wait() {
			return err
		}
	}
}

// revoke is one try. errMoved: another program has changed index.txt meanwhile.
func (s *Session) revoke(serial *big.Int, reason string, now time.Time) error {
	if err := s.refresh(); err != nil {
		return err
	}
	name := FormatSerial(serial)
	found, err := s.obs.db.lookUp(name)
	if err != nil {
		return err
	}
	e, known := found[name]
	if !known {
		if err := s.obs.db.still(); err != nil {
			return err
		}
		return fmt.Errorf("serial %s: %w", name, ErrUnknown)
	}
	if e.Status == Revoked {
		return fmt.Errorf("serial %s %w, since %s", name, ErrRevoked, e.Revoked.UTC().Format(time.RFC3339))
	}
	if testOnlyObserved != nil {
		testOnlyObserved()
	}
	before := e.row()
	e.Status, e.Revoked, e.Reason, e.raw = Revoked, now.UTC().Truncate(time.Second), reason, ""
	err = s.rewrite(func(data []byte) []byte { return replaceRows(data, map[string]Entry{before: e}) })
	if err != nil {
		return err
	}
	return s.reread()
}

// refresh takes the database from the disk again when somebody changed it since
// the session began: `openssl ca` knows no lock.
func (s *Session) refresh() error {
	if same(s.obs.db.node, durable.Look(filepath.Join(s.o.Dir, indexName))) {
		return nil
	}
	return s.reread()
}

// reread takes the database from the disk again.
func (s *Session) reread() error {
	s.o.Memory.Forget()
	o := s.o.Memory.Observe(s.o.Dir, Filter{})
	if o.Err == nil {
		o.Err = o.db.unread()
	}
	if o.Err != nil {
		return o.Err // what was read before stays what we know
	}
	s.obs = o
	return nil
}
