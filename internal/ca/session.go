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

// Session is the CA open for signing: it holds the lock, the repaired database and the key. Close it soon, because
// other processes wait for the lock. Only one goroutine may use it.
type Session struct {
	disk *durable.Disk
	o    Options
	lock *durable.Locked
	obs  Observed
	key  crypto.Signer
}

// Open locks the CA, repairs what can be repaired, and reads its key. Errors: ErrLocked (the key has a passphrase and
// none was given), pki.ErrPassphrase (the passphrase is wrong), ErrDamaged (the CA cannot sign).
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

// Close releases the lock. A second call does nothing.
func (s *Session) Close() {
	if s.lock != nil {
		s.lock.Unlock()
		s.lock = nil
	}
}

// open is Open for a caller that holds the lock.
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

// Observed is the CA as it was when the session began, with the changes that the session has made since.
func (s *Session) Observed() Observed { return s.obs }

// Issue signs one certificate in a session of its own.
func Issue(ctx context.Context, disk *durable.Disk, o Options, req Request, rnd io.Reader,
	now time.Time) (*x509.Certificate, error) {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Issue(req, rnd, now)
}

// ErrMade says that an operation failed after its certificate was signed, or perhaps signed. The caller must keep the
// key: the same request again completes the operation. Test with errors.Is.
var ErrMade = errors.New("the certificate is signed, but a later step failed")

// Issue signs a certificate that is valid no longer than its CA. In durable order: first the file in newcerts, then the
// row in index.txt. After a crash between the two, Reconcile adds the row. The serial file, which only openssl counts
// with, is not changed. An error that is ErrMade came after the signature.
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
		m.forget() // another program has changed the database: the next look reads it again
	}
	name := FormatSerial(cert.SerialNumber) + ".pem"
	if err := s.disk.Replace(filepath.Join(dir, NewCertsDir, name), pki.EncodeCertificate(cert.Raw),
		publicMode); err != nil {
		s.o.Memory.forget()
		if n := durable.Look(filepath.Join(dir, NewCertsDir, name)); n.Kind != durable.Missing {
			err = fmt.Errorf("%w: %w", ErrMade, err)
		}
		return nil, err
	}
	err = s.addRow(cert)
	for patient := newPatience(); gone(err) && patient.wait(); { // openssl has replaced index.txt, or is about to
		if err = s.reread(); err == nil {
			err = s.addRow(cert)
		}
	}
	if err != nil {
		s.o.Memory.forget()
		return nil, fmt.Errorf("%w: %w", ErrMade, err)
	}
	return cert, nil
}

// addRow appends the row of a new certificate to index.txt in one write. If a crash cuts the row off, the repair
// removes it and writes it again from the certificate in newcerts.
func (s *Session) addRow(c *x509.Certificate) error {
	e, db, path := entryFor(c), s.obs.db, filepath.Join(s.o.Dir, indexName)
	if !saysNotUnique(s.o.Dir) {
		if twice, err := db.has(e.Subject); err != nil {
			return err
		} else if twice { // first, since openssl refuses such rows without the attribute
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
		s.o.Memory.forget() // the next look reads the new file
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
		s.o.Memory.forget() // another program changed it meanwhile
		db.node = durable.Node{}
		return nil
	}
	if m := s.o.Memory; m != nil && m.db == db {
		m.added(s.o.Dir, row[:len(row)-1], now)
	} else {
		m.forget()
		db.added(row[:len(row)-1])
		db.node = now
	}
	s.obs.Rows = db.rows
	return nil
}

// rewrite replaces all of index.txt by what change makes of it. The data that change gets ends with a line feed and has
// no torn row. The error is errMoved where the file is not the one that was read.
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

// appendRow appends a row to index.txt. Where the file has just disappeared it waits, because openssl is replacing it.
func appendRow(disk *durable.Disk, path string, row []byte) error {
	err := disk.Append(path, row)
	for patient := newPatience(); errors.Is(err, fs.ErrNotExist) && patient.wait(); {
		err = disk.Append(path, row)
	}
	return err
}

// Reasons are the reasons of a revocation that openssl-ca(1) accepts for -crl_reason, with their codes (RFC 5280
// 5.3.1).
func Reasons() map[string]int { return maps.Clone(reasonCodes) }

var reasonCodes = map[string]int{"unspecified": 0, "keyCompromise": 1, "CACompromise": 2, "affiliationChanged": 3,
	"superseded": 4, "cessationOfOperation": 5, "certificateHold": 6}

// Errors of a revocation. Test with errors.Is.
var (
	ErrUnknown = errors.New("the CA on this host has no such certificate")
	ErrRevoked = errors.New("is already revoked")
)

// Revoke marks the row of the certificate with that serial as revoked. reason is one of Reasons, or "" for none.
// WriteCRL puts it on the CRL. Errors: ErrUnknown, ErrRevoked.
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

// revoke is one try of Revoke. The error is errMoved where another program has changed index.txt meanwhile.
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

// refresh reads the database again where it has changed since the session read it: `openssl ca` takes no lock.
func (s *Session) refresh() error {
	if same(s.obs.db.node, durable.Look(filepath.Join(s.o.Dir, indexName))) {
		return nil
	}
	return s.reread()
}

// reread reads the database again.
func (s *Session) reread() error {
	s.o.Memory.forget()
	o := s.o.Memory.Observe(s.o.Dir, Filter{})
	if o.Err == nil {
		o.Err = o.db.unread()
	}
	if o.Err != nil {
		return o.Err // the session keeps its last good observation
	}
	s.obs = o
	return nil
}
