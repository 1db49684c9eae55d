package ca

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/durable"
)

// indexFaults reports an index.txt that is missing, cannot be read, or has lines that are not whole.
func indexFaults(o *Observed) (found []Fault) {
	path, db := o.path(indexName), o.db
	if db.node.Kind == durable.Missing {
		found = append(found, Fault{Kind: FaultIndexMissing, Path: path, Repairable: true})
	} else if err := db.unread(); err != nil {
		found = append(found, unreadIndex(o, err))
	}
	if db.blank {
		found = append(found, Fault{Kind: FaultIndexBlank, Path: path, Repairable: true})
	}
	if db.torn {
		found = append(found, Fault{Kind: FaultIndexTorn, Path: path, Repairable: true})
	}
	if db.open() {
		found = append(found, Fault{Kind: FaultIndexOpen, Path: path, Repairable: true})
	}
	return found
}

// unreadIndex is the fault of an index.txt that cannot be read.
func unreadIndex(o *Observed, err error) Fault {
	return Fault{Kind: FaultIndexFile, Path: o.path(indexName), Got: err.Error()}
}

// mostOddRows is how many defective rows are reported one by one; one line counts the rest.
const mostOddRows = 100

// rowFaults reports rows that cannot be read, and rows because of which openssl refuses index.txt.
func rowFaults(o *Observed) (found []Fault) {
	for i, e := range o.db.odd {
		f := Fault{Kind: FaultIndexRow, Path: o.rowPath(e)}
		switch {
		case i == mostOddRows:
			f.Got = fmt.Sprintf("and %d rows after it have the same fault", len(o.db.odd)-i-1)
			return append(found, f)
		case e.Err == errCut && cutRepairable(o):
			f.Kind, f.Got, f.Repairable = FaultIndexTorn, e.Err.Error()+"; the CRL names the certificate", true
		case e.Err == errCut:
			f.Kind, f.Got = FaultIndexTorn, e.Err.Error()+", and no CRL names the certificate"
		case e.Err != nil:
			f.Got = e.Err.Error()
		default:
			f.Kind, f.Got = FaultIndexRefused, e.refused
		}
		found = append(found, f)
	}
	return found
}

// unrevoked finds certificates that are in a CRL but valid in index.txt: an old index.txt was restored, or an `openssl
// ca` that waited at its prompt wrote the copy that it had read before the revocation. The next `openssl ca -gencrl`
// would drop them from the CRL. A revocation is permanent (RFC 5280 5.3), so mailcertd revokes the row again; only a
// certificate on hold may become valid again.
func unrevoked(o *Observed) (rows []Entry) {
	listed := o.CRL.inLists()
	for _, serial := range slices.Sorted(maps.Keys(listed)) {
		if code := listed[serial].ReasonCode; code == onHold || code == removed {
			continue
		}
		if e, known := o.db.row(serial); known && e.Status == Valid && e.refused == "" {
			rows = append(rows, e)
		}
	}
	return rows
}

// unrevokedFaults reports them.
func unrevokedFaults(o *Observed) (found []Fault) {
	for _, e := range unrevoked(o) {
		found = append(found, Fault{Kind: FaultUnrevoked, Path: o.rowPath(e), Got: "serial " + e.serial(),
			Repairable: true})
	}
	return found
}

// sharing says that two valid rows have the same subject, and index.txt.attr does not allow that: `openssl ca` then
// fails.
func sharing(o *Observed) (bool, error) {
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

// subjectFaults reports an index.txt.attr that forbids what index.txt has.
func subjectFaults(o *Observed) []Fault {
	switch shares, err := sharing(o); {
	case err != nil:
		return []Fault{unreadIndex(o, err)}
	case shares:
		return []Fault{{Kind: FaultUnique, Path: o.path(attrName), Want: "unique_subject = no", Repairable: true}}
	}
	return nil
}

// serialFaults reports a serial file whose number is not the next one.
func serialFaults(o *Observed) []Fault {
	path := o.path(serialName)
	if o.serialErr != nil {
		return []Fault{{Kind: FaultSerial, Path: path, Got: o.serialErr.Error()}}
	}
	want, err := o.db.nextSerial(o.Serial)
	if err != nil {
		return []Fault{unreadIndex(o, err)}
	}
	f := Fault{Kind: FaultSerial, Path: path, Want: FormatSerial(want), Repairable: true}
	switch {
	case o.serialOdd:
		f.Got = "a number that openssl cannot read as it is written"
	case o.Serial == nil:
		f.Got = "nothing"
	case o.Serial.Cmp(want) != 0:
		f.Got = FormatSerial(o.Serial)
	default:
		return nil
	}
	return []Fault{f}
}

// crlNumberFaults reports a crlnumber that is missing or has no number. A missing one is a fault only beside an
// openssl.cnf of mailcertd; another one may name another file.
func crlNumberFaults(o *Observed) []Fault {
	path, ours := o.path(crlNumName), confBegins(o.Dir.Path, confMark)
	if ours && durable.Look(path).Kind == durable.Missing || unnumbered(o.Dir.Path) {
		return []Fault{{Kind: FaultCRLNumber, Path: path, Repairable: ours}}
	}
	return nil
}
