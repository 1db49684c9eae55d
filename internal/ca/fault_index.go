package ca

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/durable"
)

// mostOddRows is how many defective rows are reported one by one; one line counts the rest.
const mostOddRows = 100

// oddRows reports rows that cannot be read, and rows because of which openssl refuses index.txt.
func (o *Observed) oddRows() {
	for i, e := range o.db.odd {
		where := fmt.Sprintf("%s:%d", indexName, e.Line)
		switch {
		case i == mostOddRows:
			o.fault(FaultIndexRow, where, false, "",
				fmt.Sprintf("and %d rows after it have the same fault", len(o.db.odd)-i-1))
			return
		case e.Err == errCut && o.cutRepairable():
			o.fault(FaultIndexTorn, where, true, "", e.Err.Error()+"; the CRL names the certificate")
		case e.Err == errCut:
			o.fault(FaultIndexTorn, where, false, "", e.Err.Error()+", and no CRL names the certificate")
		case e.Err != nil:
			o.fault(FaultIndexRow, where, false, "", e.Err.Error())
		default:
			o.fault(FaultIndexRefused, where, false, "", e.refused)
		}
	}
}

// unrevoked finds certificates that are in a CRL but valid in index.txt: an old index.txt was restored, or an `openssl
// ca` that waited at its prompt wrote the copy that it had read before the revocation. The next `openssl ca -gencrl`
// would drop them from the CRL. A revocation is permanent (RFC 5280 5.3), so mailcertd revokes the row again; only a
// certificate on hold may become valid again.
func (o *Observed) unrevoked() (serials []string) {
	listed := o.CRL.inLists()
	for _, serial := range slices.Sorted(maps.Keys(listed)) {
		if code := listed[serial].ReasonCode; code == onHold || code == removed {
			continue
		}
		if e, known := o.db.row(serial); known && e.Status == Valid && e.refused == "" {
			serials = append(serials, serial)
		}
	}
	return serials
}

// sharing says that two valid rows have the same subject, and index.txt.attr does not allow that: `openssl ca` then
// fails.
func (o *Observed) sharing() (bool, error) {
	if saysNotUnique(o.Dir.Path) || o.db.unread() != nil {
		return false, nil
	}
	return o.db.sharing()
}

// saysNotUnique says that index.txt.attr, which has precedence over openssl.cnf, allows two valid rows with one
// subject. It also returns true where the file cannot be read, so that nothing is written over it.
func saysNotUnique(dir string) bool {
	n := durable.Read(filepath.Join(dir, attrName), maxFile)
	if n.Err != nil {
		return true // not known: nothing is written over it
	}
	for line := range strings.SplitSeq(string(n.Data), "\n") {
		k, v, _ := strings.Cut(line, "=")
		if strings.TrimSpace(k) == "unique_subject" {
			return strings.HasPrefix(strings.ToLower(strings.TrimSpace(v)), "n")
		}
	}
	return false
}

// unreadLater notes that a second pass over index.txt failed, although the first could read it.
func (o *Observed) unreadLater(err error) {
	if o.db.unread() == nil {
		o.db.node.Err = err
		o.fault(FaultIndexFile, indexName, false, "", err.Error())
	}
}
