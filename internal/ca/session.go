package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Session is the CA open for signing: locked, its database mended and in
// memory, its key read. Close it soon: others wait.
type Session struct {
	disk *durable.Disk
	o    Options
	lock *durable.Locked
	obs  Observed
	key  crypto.Signer
}

// Open locks the CA, mends what can be mended, and reads its key. ErrLocked:
// the key has a passphrase and none was given; pki.ErrPassphrase: it is
// another one; ErrDamaged: it cannot be used as it is.
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
func Issue(ctx context.Context, disk *durable.Disk, o Options, req Request, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
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
var ErrMade = errors.New("the certificate is signed, and what follows failed")

// Issue signs a certificate. In durable order: the certificate lies in newcerts
// (a crash leaves an orphan, which Reconcile gives its row), then index.txt has
// its row. The serial file, by which openssl counts, is left alone. The
// certificate does not outlive its CA. An error that is ErrMade came after it.
func (s *Session) Issue(req Request, rnd io.Reader, now time.Time) (*x509.Certificate, error) {
	if err := s.refresh(); err != nil {
		return nil, err
	}
	dir, db, current := s.o.Dir, s.obs.db, s.obs.Current.Cert
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
	name := FormatSerial(cert.SerialNumber) + ".pem"
	if err := s.disk.Replace(filepath.Join(dir, newCertsName, name), pki.EncodeCertificate(cert.Raw), publicMode); err != nil {
		s.o.Memory.Forget()
		if n := durable.Look(filepath.Join(dir, newCertsName, name)); n.Kind != durable.Missing {
			err = fmt.Errorf("%w: %w", ErrMade, err)
		}
		return nil, err
	}
	alone, err := s.addRow(cert)
	if err != nil {
		s.o.Memory.Forget()
		return nil, fmt.Errorf("%w: %w", ErrMade, err)
	}
	db.addFile(name)
	s.obs.Index = db.rows
	s.o.Memory.written(dir, db)
	if !alone { // the next one reads what it is now
		s.o.Memory.Forget()
		db.node = durable.Node{}
	}
	return cert, nil
}

// addRow adds the row of a new certificate to index.txt: at its end, one
// write. What a crash leaves of it is cut off and the certificate, which lies
// in newcerts, gets its row again. alone says that nobody else changed the file
// meanwhile: what is known of it is all that it holds.
func (s *Session) addRow(c *x509.Certificate) (alone bool, err error) {
	e, db, path := entryFor(c), s.obs.db, filepath.Join(s.o.Dir, indexName)
	if !saysNotUnique(s.o.Dir) && db.has(e.Subject) { // the attribute first: openssl must never meet the rows without it
		if err := notUnique(s.disk, s.o.Dir); err != nil {
			return false, err
		}
	}
	row := formatIndex([]Entry{e})
	want, inode := db.node.Size+int64(len(row)), db.node.Ino
	if !db.node.IsRegular || !db.whole || db.torn {
		rows := append(slices.Clone(db.rows), e)
		data := formatIndex(rows)
		if err := put(s.disk, path, data, publicMode); err != nil {
			return false, err
		}
		want, inode = int64(len(data)), 0
		for i := range rows { // comments and empty lines are gone
			rows[i].Line = i + 1
		}
		db.rows, db.lines = rows[:len(db.rows)], len(db.rows)
		db.whole, db.torn = true, false
	} else if err := s.disk.Append(resolved(path), row); err != nil {
		return false, err
	}
	db.node = durable.Look(path)
	db.lines++
	e.Line = db.lines
	db.addRow(e)
	return db.node.Err == nil && db.node.Size == want && (inode == 0 || inode == db.node.Ino), nil
}

// Reasons are what a revocation may say, openssl-ca(1) -crl_reason, with their
// codes (RFC 5280 5.3.1).
func Reasons() map[string]int {
	return map[string]int{"unspecified": 0, "keyCompromise": 1, "CACompromise": 2, "affiliationChanged": 3,
		"superseded": 4, "cessationOfOperation": 5, "certificateHold": 6}
}

// Why a revocation is refused. Test with errors.Is.
var (
	ErrUnknown = errors.New("no such certificate in index.txt")
	ErrRevoked = errors.New("is revoked already")
)

// Revoke marks the certificate with that serial as revoked, in its row. reason
// "" is none. The CRL does not have it before WriteCRL.
func (s *Session) Revoke(serial *big.Int, reason string, now time.Time) error {
	if _, known := Reasons()[reason]; reason != "" && !known {
		return fmt.Errorf("%q is no reason for a revocation", reason)
	}
	if err := s.refresh(); err != nil {
		return err
	}
	db, name := s.obs.db, FormatSerial(serial)
	i, known := db.row(name)
	if !known {
		return fmt.Errorf("serial %s: %w", name, ErrUnknown)
	}
	e := db.rows[i]
	if e.Status == Revoked {
		return fmt.Errorf("serial %s %w, since %s", name, ErrRevoked, e.Revoked.UTC().Format(time.RFC3339))
	}
	e.Status, e.Revoked, e.Reason, e.raw = Revoked, now.UTC().Truncate(time.Second), reason, ""
	rows := slices.Clone(db.rows)
	rows[i] = e
	if err := put(s.disk, filepath.Join(s.o.Dir, indexName), formatIndex(rows), publicMode); err != nil {
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
	o := s.o.Memory.Observe(s.o.Dir, Filter{Name: "."})
	if o.Err == nil {
		o.Err = o.db.unread()
	}
	if o.Err != nil {
		return o.Err // what was read before stays what we know
	}
	s.obs = o
	return nil
}
