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

// CRL holds the certificate revocation lists: one for each generation, also the next one, whose certificate may sign
// CRLs.
type CRL struct {
	Lists []RevocationList
	// Behind says that a revoked row is missing in a list, or that one generation has no list while another has one.
	Behind bool
}

// RevocationList is one CRL.
type RevocationList struct {
	N    int // the generation: 0 is the current one
	Path string
	List *x509.RevocationList // nil: missing or unreadable
	// Fixed says that no new list can be signed, because the key of the generation was removed.
	Fixed bool
	Raw   []byte // its DER
	Err   error  // why the file could not be read: who is in it is not known
}

// Wanted says whether CRLs must be kept: a certificate was revoked, or a CRL exists.
func (c CRL) Wanted() bool {
	for _, l := range c.Lists {
		if l.List != nil {
			return true
		}
	}
	return c.Behind
}

// Due is when the lists must be made again: as soon as one of them has only a third of its life left. It is zero where
// no list can be renewed.
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

// current says that the list has every revoked certificate, is valid already, and is not due for renewal.
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

// Ends is the earliest nextUpdate of all lists; it is zero where there is no list.
func (c CRL) Ends() time.Time {
	var end time.Time
	for _, l := range c.Lists {
		if l.List != nil && (end.IsZero() || l.List.NextUpdate.Before(end)) {
			end = l.List.NextUpdate
		}
	}
	return end
}

// readLists reads the list of each generation that may have one.
func readLists(signers []Generation) CRL {
	var c CRL
	for _, g := range signers {
		l := RevocationList{N: g.N, Path: filepath.Join(g.Dir, CRLName), Fixed: !g.HasKey}
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

// compare sets Behind from what readDatabase found out: which lists lack a revoked row of index.txt.
func (c *CRL) compare(db *database) {
	bare := false // a generation that could have a list has none
	for i, l := range c.Lists {
		bare = bare || l.List == nil && !l.Fixed
		c.Behind = c.Behind || !l.Fixed && db.missing[i]
	}
	c.Behind = c.Behind || bare && !c.Ends().IsZero()
}

// signers are the generations that have a CRL each. The next generation has one before it is put in force, so that
// every host has the list by then.
func (o *Observed) signers() []Generation {
	var out []Generation
	for _, g := range append(append([]Generation{o.Current}, o.Older...), o.Next) {
		if g.Cert != nil && mayRevoke(g.Cert) {
			out = append(out, g)
		}
	}
	return out
}

// mayRevoke says whether verifiers accept a CRL that this certificate's key has signed (RFC 5280 4.2.1.3): keyUsage has
// cRLSign, or there is no keyUsage.
func mayRevoke(c *x509.Certificate) bool {
	return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCRLSign != 0
}

// WriteCRL signs a CRL for each generation whose key is present: version 2 with a CRL number (RFC 5280 5.2.3), valid
// for CRLDays days. Each list has the revoked certificates of all generations, as with `openssl ca -gencrl`: the
// generations share one issuer name, and no serial number occurs twice among them.
func (s *Session) WriteCRL(rnd io.Reader, now time.Time) error {
	dir := s.o.Dir
	var entries []x509.RevocationListEntry
	for patient := newPatience(); ; {
		err := s.refresh()
		if err != nil {
			return err
		}
		if err := s.obs.CRL.err(); err != nil { // the new list would lack its entries
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
	if least := s.obs.CRL.nextNumber(); number == nil || number.Cmp(least) < 0 {
		number = least
	}
	// The number is written only when all lists are signed, so that a failure before this does not use one up.
	lists := map[string][]byte{}
	var failed []error
	for _, g := range s.obs.signers() {
		path := filepath.Join(g.Dir, CRLName)
		if !g.HasKey {
			continue // its last list stays, since nothing can sign a new one
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
	if len(failed) > 0 { // the caller retries: do not write current lists each time
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

// The reason codes of revocations that may be withdrawn, RFC 5280 5.3.1.
const (
	onHold  = 6
	removed = 8
)

// err is why a list could not be read; it is nil where all were read.
func (c CRL) err() error {
	for _, l := range c.Lists {
		if l.Err != nil {
			return l.Err
		}
	}
	return nil
}

// inLists are the entries of all lists, by serial as FormatSerial writes it.
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

// revocations are the entries of the next list: the revoked rows, and the entries of the present lists. An entry stays
// even if index.txt has lost its row, because a revocation is permanent; only a certificate on hold becomes valid
// again, when its row says so. The error is errMoved where index.txt has changed since it was observed.
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

// invalidity returns the invalidityDate among the extensions of an entry. The next list keeps it; the reason code has a
// field of its own.
func invalidity(all []pkix.Extension) []pkix.Extension {
	i := slices.IndexFunc(all, func(e pkix.Extension) bool { return e.Id.Equal(invalidityDate) })
	if i < 0 {
		return nil
	}
	return all[i : i+1]
}

// invalidityDate is id-ce-invalidityDate, RFC 5280 5.3.2.
var invalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}

// listed is the row as an entry of a CRL. `openssl ca` writes words into index.txt that Reasons does not have:
// removeFromCRL, and with -crl_hold, -crl_compromise and -crl_CA_compromise a word with an argument. The argument of a
// hold is an instruction, which RFC 5280 no longer defines; that of a compromise is its time, which becomes the
// invalidity date (5.3.2).
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

// crlIssuer is the certificate with which x509.CreateRevocationList signs. A CA that was made by hand may have no
// keyUsage or no key identifier; openssl signs CRLs with it, but the Go library refuses to, so a copy gets both.
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

// nextNumber is one more than the highest number in the present lists; 1 where there is none.
func (c CRL) nextNumber() *big.Int {
	next := big.NewInt(1)
	for _, l := range c.Lists {
		if l.List != nil && l.List.Number != nil && l.List.Number.Cmp(next) >= 0 {
			next = new(big.Int).Add(l.List.Number, big.NewInt(1))
		}
	}
	return next
}

// WriteCRL opens the CA, calls Session.WriteCRL and closes the CA.
func WriteCRL(ctx context.Context, disk *durable.Disk, o Options, rnd io.Reader, now time.Time) error {
	s, err := Open(ctx, disk, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.WriteCRL(rnd, now)
}
