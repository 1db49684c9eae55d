package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"time"
)

// stray is a certificate in newcerts without a row, a crash's leavings.
type stray struct {
	name string
	row  Entry     // that it gets
	err  error     // why it gets none
	from time.Time // when it begins
}

func (s stray) drawn() bool { return s.row.Serial != nil && s.row.Serial.BitLen() > maxCounted }

// orphans finds them, with their rows: revoked where a CRL has them.
func (o *Observed) orphans() []stray {
	var out []stray
	var revoked map[string]x509.RevocationListEntry
	for _, n := range o.db.orphans {
		cs, err := readCerts(filepath.Join(o.Dir.Path, newCertsName, n))
		if err != nil {
			out = append(out, stray{name: n, err: err})
			continue
		}
		if len(cs) == 0 {
			continue
		}
		if revoked == nil {
			revoked = o.CRL.inLists()
		}
		or := stray{name: n, row: entryFor(cs[0]), from: cs[0].NotBefore}
		r, listed := revoked[FormatSerial(cs[0].SerialNumber)]
		switch {
		case listed && r.ReasonCode != removed:
			or.row.Status, or.row.Revoked, or.row.Reason = Revoked, r.RevocationTime, reasonOf(r.ReasonCode)
		case o.CRL.err() != nil:
			or.err = fmt.Errorf("mailcertd cannot find out whether it was revoked: %w", o.CRL.err())
		case o.db.lost:
			or.err = errors.New("the unreadable row of index.txt may be its revocation")
		case o.Current.Cert == nil:
			or.err = errors.New("without the CA certificate, mailcertd cannot find out whether it was revoked")
		}
		out = append(out, or)
	}
	// as they were issued: counted serials say it, and drawn ones say nothing
	sort.SliceStable(out, func(i, j int) bool {
		return out[i].drawn() && out[j].drawn() && out[i].from.Before(out[j].from) || !out[i].drawn() && out[j].drawn()
	})
	return out
}

// cutRepairable says that the cut-off revocation at the end of index.txt is that of
// the one certificate that has no row: a CRL has it.
func (o *Observed) cutRepairable() bool {
	last := len(o.db.odd) - 1
	if last < 0 || o.db.odd[last].Err != errCut {
		return false
	}
	all := o.orphans()
	return len(all) == 1 && all[0].row.Status == Revoked
}
