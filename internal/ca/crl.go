package ca

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// CRL is what is known of the revocation lists, one for each generation that
// has living certificates or waits to be put in force.
type CRL struct {
	Lists []RevocationList
	// Behind says that a revoked row is in no list yet, or that a generation has none while another has.
	Behind bool
}

// RevocationList is one CRL.
type RevocationList struct {
	N    int // the generation: 0 is the current one
	Path string
	List *x509.RevocationList // nil: missing or unreadable
	// Fixed says that it cannot be made again: the generation's key is gone.
	Fixed bool
	Raw   []byte // its DER
	Err   error  // why the file could not be read: who is in it is not known
}

// Wanted says that a CRL must be kept: a certificate was revoked, or a CRL exists.
func (c CRL) Wanted() bool {
	for _, l := range c.Lists {
		if l.List != nil {
			return true
		}
	}
	return c.Behind
}

// Due is when the lists are made again at the latest: when a third of the life of the shortest is left. Zero: there is
// none.
func (c CRL) Due() time.Time {
	var due time.Time
	for _, l := range c.Lists {
		if l.List == nil || l.Fixed || l.List.NextUpdate.IsZero() {
			continue
		}
		at := l.List.NextUpdate.Add(-l.List.NextUpdate.Sub(l.List.ThisUpdate) / 3)
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// current says that the list has everybody who is revoked, has begun, and is not due.
func (l RevocationList) current(revoked []x509.RevocationListEntry, now time.Time) bool {
	if l.List == nil || now.Before(l.List.ThisUpdate) || !now.Before(CRL{Lists: []RevocationList{l}}.Due()) {
		return false
	}
	listed := map[string]bool{}
	for _, r := range l.List.RevokedCertificateEntries {
		listed[FormatSerial(r.SerialNumber)] = true
	}
	return !slices.ContainsFunc(revoked, func(r x509.RevocationListEntry) bool {
		return !listed[FormatSerial(r.SerialNumber)]
	})
}

// Ends is when the first list is stale; zero: there is none.
func (c CRL) Ends() time.Time {
	var end time.Time
	for _, l := range c.Lists {
		if l.List != nil && (end.IsZero() || l.List.NextUpdate.Before(end)) {
			end = l.List.NextUpdate
		}
	}
	return end
}

// readLists reads the lists of all generations.
func (o *Observed) readLists() CRL {
	var c CRL
	for _, g := range o.signers() {
		l := RevocationList{N: g.N, Path: filepath.Join(g.Dir, crlName), Fixed: !g.HasKey}
		n := durable.Read(l.Path, maxIndex)
		if n.Unread() {
			l.Err = n.Err
		}
		if b, _ := pem.Decode(n.Data); n.Err == nil && b != nil {
			if crl, err := x509.ParseRevocationList(b.Bytes); err == nil && pki.ListSignedBy(crl, g.Cert) {
				l.List, l.Raw = crl, b.Bytes
			}
		}
		c.Lists = append(c.Lists, l)
	}
	return c
}

// compare finds whether the lists have every revoked row of index.txt, which was asked about them.
func (c *CRL) compare(db *database) {
	bare := false // a generation that could have a list has none
	for i, l := range c.Lists {
		bare = bare || l.List == nil && !l.Fixed
		c.Behind = c.Behind || !l.Fixed && db.missing[i]
	}
	c.Behind = c.Behind || bare && !c.Ends().IsZero()
}

// signers are the generations that have a list each. The one that waits to be
// put in force has it in time for every host to know it by then.
func (o *Observed) signers() []Generation {
	var out []Generation
	for _, g := range append(append([]Generation{o.Current}, o.Older...), o.Next) {
		if g.Cert != nil && mayRevoke(g.Cert) {
			out = append(out, g)
		}
	}
	return out
}

// mayRevoke says that a list signed with this certificate's key is believed, RFC 5280 4.2.1.3: keyUsage has cRLSign, or
// there is no keyUsage at all.
func mayRevoke(c *x509.Certificate) bool {
	return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCRLSign != 0
}

// WriteCRL makes the lists of all generations whose key is there, version 2
// with a number (RFC 5280 5.2.3), good for CRLDays days. Each list has every
// revoked certificate: serial numbers are unique over the generations, which
// share one name; so does `openssl ca -gencrl`.
func (s *Session) WriteCRL(rnd io.Reader, now time.Time) error {
	dir := s.o.Dir
	var entries []x509.RevocationListEntry
	for patient := newPatience(); ; {
		err := s.refresh()
		if err != nil {
			return err
		}
		if err := s.obs.CRL.err(); err != nil { // who was in it would be left out
			return fmt.Errorf("no new CRL is made, because the previous one cannot be read: %w", err)
		}
		if entries, err = s.obs.revocations(); err == nil {
			break
		} else if !errors.Is(err, errMoved) || !patient.wait() {
			return err
		}
	}
	numberPath := filepath.Join(dir, crlNumName)
	number, _, err := readSerial(numberPath)
	if err != nil {
		return err
	}
	if least := s.obs.nextCRLNumber(); number == nil || number.Cmp(least) < 0 {
		number = least
	}
	// All lists are made, and all that can be known to be in their way is known, before the number is taken.
	lists := map[string][]byte{}
	var failed []error
	for _, g := range s.obs.signers() {
		path := filepath.Join(g.Dir, crlName)
		if !g.HasKey {
			continue // its last list stays
		}
		if n := durable.Look(path); n.Err != nil || n.Kind == durable.Directory {
			failed = append(failed, fmt.Errorf("%s: cannot be replaced: %w", path, orDirectory(n.Err)))
			continue
		}
		der, err := s.list(g, entries, number, rnd, now)
		if err != nil {
			failed = append(failed, fmt.Errorf("the CRL of the generation in %s: %w", g.Dir, err))
			continue
		}
		lists[path] = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	}
	if len(failed) > 0 { // this is tried again and again: the lists that need nothing stay
		for _, l := range s.obs.CRL.Lists {
			if l.current(entries, now) {
				delete(lists, l.Path)
			}
		}
	}
	if len(lists) == 0 {
		return errors.Join(failed...)
	}
	if err := put(s.disk, numberPath, []byte(FormatSerial(new(big.Int).Add(number, big.NewInt(1)))+"\n"),
		publicMode); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(lists)) {
		if err := put(s.disk, path, lists[path], publicMode); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(append(failed, s.reread())...)
}

func orDirectory(err error) error {
	if err == nil {
		return errors.New("it is a directory; move it away")
	}
	return err
}

// list signs one generation's list.
func (s *Session) list(g Generation, entries []x509.RevocationListEntry, number *big.Int, rnd io.Reader,
	now time.Time) ([]byte, error) {
	key := s.key
	if g.Dir != s.obs.Current.Dir {
		var err error
		if key, err = readKey(filepath.Join(g.Dir, keyName), s.o.Passphrase); err != nil {
			return nil, err
		}
	}
	days := s.o.CRLDays
	if days <= 0 {
		days = 30
	}
	return x509.CreateRevocationList(rnd, &x509.RevocationList{
		Number: number, ThisUpdate: now.Add(-s.o.backdate()).UTC().Truncate(time.Second),
		NextUpdate:                now.UTC().Truncate(time.Second).Add(time.Duration(days) * 24 * time.Hour),
		RevokedCertificateEntries: entries,
	}, crlIssuer(g.Cert), key)
}

// The codes of two reasons that may be taken back, RFC 5280 5.3.1.
const (
	onHold  = 6
	removed = 8
)

// err is why one of the lists could not be read; nil: all could.
func (c CRL) err() error {
	for _, l := range c.Lists {
		if l.Err != nil {
			return l.Err
		}
	}
	return nil
}

// inLists is what the lists have, by serial.
func (c CRL) inLists() map[string]x509.RevocationListEntry {
	out := map[string]x509.RevocationListEntry{}
	for _, l := range c.Lists {
		if l.List == nil {
			continue
		}
		for _, r := range l.List.RevokedCertificateEntries {
			out[FormatSerial(r.SerialNumber)] = r
		}
	}
	return out
}

// revocations are the entries of the next list: the revoked rows, and what was in a list before. A revocation is for
// good, whatever became of index.txt; only one on hold is taken back, by its row. errMoved: index.txt is not what was
// looked at.
func (o *Observed) revocations() ([]x509.RevocationListEntry, error) {
	if testOnlyObserved != nil {
		testOnlyObserved()
	}
	var out []x509.RevocationListEntry
	n := scan(o.db.path, func(l *line) bool {
		if l.readable() && l.status == Revoked {
			out = append(out, l.entry().listed())
		}
		return true
	})
	if n.Err != nil {
		return nil, n.Err
	}
	if err := o.db.still(); err != nil {
		return nil, err
	}
	before := o.CRL.inLists()
	for _, serial := range slices.Sorted(maps.Keys(before)) {
		r := before[serial]
		row, known := o.db.row(serial)
		if known && (row.Status == Revoked || r.ReasonCode == onHold) || r.ReasonCode == removed {
			continue
		}
		out = append(out, x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: r.RevocationTime,
			ReasonCode: r.ReasonCode, ExtraExtensions: invalidity(r.Extensions)})
	}
	return out, nil
}

// invalidity is the one extension of an entry beside its reason, which is kept.
func invalidity(all []pkix.Extension) []pkix.Extension {
	i := slices.IndexFunc(all, func(e pkix.Extension) bool { return e.Id.Equal(invalidityDate) })
	if i < 0 {
		return nil
	}
	return all[i : i+1]
}

// invalidityDate is id-ce-invalidityDate, RFC 5280 5.3.2.
var invalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}

// listed is the row in a CRL. Beside the reasons of Reasons openssl writes
// removeFromCRL, and with -crl_hold, -crl_compromise and -crl_CA_compromise a
// word of its own with an argument: an instruction, which RFC 5280 has no more,
// or the time of the compromise, which becomes the invalidity date (5.3.2).
func (e Entry) listed() x509.RevocationListEntry {
	word, arg, _ := strings.Cut(e.Reason, ",")
	code, known := Reasons()[word]
	if !known {
		code = opensslWords[word]
	}
	l := x509.RevocationListEntry{SerialNumber: e.Serial, RevocationTime: e.Revoked.UTC(), ReasonCode: code}
	if at, err := parseTime(arg); err == nil && (word == "keyTime" || word == "CAkeyTime") {
		if der, err := asn1.MarshalWithParams(at, "generalized"); err == nil {
			l.ExtraExtensions = []pkix.Extension{{Id: invalidityDate, Value: der}}
		}
	}
	return l
}

// crlIssuer lets a CA sign its list whose certificate says nothing of key
// usage, or has no key identifier: made by hand, and openssl does the same.
func crlIssuer(c *x509.Certificate) *x509.Certificate {
	if c.KeyUsage&x509.KeyUsageCRLSign != 0 && len(c.SubjectKeyId) > 0 {
		return c
	}
	d := *c
	if d.KeyUsage == 0 {
		d.KeyUsage = x509.KeyUsageCRLSign
	}
	if len(d.SubjectKeyId) == 0 {
		d.SubjectKeyId = pki.KeyID(d.PublicKey)
	}
	return &d
}

// nextCRLNumber is above every list that is there.
func (o *Observed) nextCRLNumber() *big.Int {
	next := big.NewInt(1)
	for _, l := range o.CRL.Lists {
		if l.List != nil && l.List.Number != nil && l.List.Number.Cmp(next) >= 0 {
			next = new(big.Int).Add(l.List.Number, big.NewInt(1))
		}
	}
	return next
}

// WriteCRL makes the lists with a session of its own.
func WriteCRL(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader, now time.Time) error {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.WriteCRL(rnd, now)
}
