package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"time"
)

// stray is a certificate in newcerts without a row in index.txt, as a crash between the two writes leaves it.
type stray struct {
	name string
	row  Entry     // the row to write
	err  error     // why no row may be written
	from time.Time // notBefore
}

func (s stray) drawn() bool { return s.row.Serial != nil && s.row.Serial.BitLen() > maxCounted }

// orphans returns the certificates without a row, in the order in which they were issued as far as that is known, with
// the rows to write: revoked where a CRL lists them.
func orphans(o *Observed) []stray {
	var out []stray
	var revoked map[string]x509.RevocationListEntry
	for _, n := range o.db.orphans {
		cs, err := readCerts(o.path(filepath.Join(NewCertsDir, n)))
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
			or.err = errors.New("a row of index.txt that cannot be read may be its revocation: correct that row first")
		case o.Current.Cert == nil:
			or.err = errors.New("without the CA certificate, mailcertd cannot find out whether it was revoked")
		}
		out = append(out, or)
	}
	// Counted serials tell the order in which they were issued; drawn ones do not, so those go by notBefore.
	sort.SliceStable(out, func(i, j int) bool {
		return out[i].drawn() && out[j].drawn() && out[i].from.Before(out[j].from) || !out[i].drawn() && out[j].drawn()
	})
	return out
}

// orphanFaults reports them.
func orphanFaults(o *Observed) (found []Fault) {
	for _, or := range orphans(o) {
		f := Fault{Kind: FaultOrphan, Path: o.path(filepath.Join(NewCertsDir, or.name)), Repairable: or.err == nil}
		if or.err != nil {
			f.Got = or.err.Error()
		}
		found = append(found, f)
	}
	return found
}

// cutRepairable says whether a cut-off revocation at the end of index.txt can be written again: exactly one certificate
// has no row, and a CRL lists it as revoked.
func cutRepairable(o *Observed) bool {
	last := len(o.db.odd) - 1
	if last < 0 || o.db.odd[last].Err != errCut {
		return false
	}
	all := orphans(o)
	return len(all) == 1 && all[0].row.Status == Revoked
}
