package ca

import (
	"bytes"
	"path/filepath"

	"mailcertd/internal/durable"
)

// rewrites says that a repair will write index.txt whole, on the strength of what is in it.
func (o *Observed) rewrites() bool {
	for _, f := range o.Faults {
		switch f.Kind {
		case FaultOrphan, FaultIndexMissing, FaultIndexBlank, FaultIndexTorn, FaultIndexOpen, FaultUnrevoked:
			if f.Repairable {
				return true
			}
		}
	}
	return false
}

// interruptedIndex is what index.txt was where it is missing: `openssl ca` writes
// index.txt.new, renames index.txt to index.txt.old and the new one to its place,
// and can be killed in between. nil: there is nothing of the kind. An error: it
// is not known, and who is revoked there would be taken for valid.
func interruptedIndex(dir string) ([]byte, error) {
	for _, tail := range []string{".new", ".old"} {
		n := durable.Read(filepath.Join(dir, indexName+tail), maxIndex)
		if n.Unread() {
			return nil, n.Err
		}
		if n.Err != nil || len(n.Data) == 0 || n.Data[len(n.Data)-1] != '\n' {
			continue
		}
		rows, torn := ParseIndex(n.Data)
		if whole := !torn && len(rows) > 0; whole && !anyUnread(rows) {
			return n.Data, nil
		}
	}
	return nil, nil
}

func anyUnread(rows []Entry) bool {
	for i := range rows {
		if rows[i].Err != nil {
			return true
		}
	}
	return false
}

// missingFrom makes data what was in index.txt, and gives the rows that it lacks.
func missingFrom(before []byte, rows []Entry, data *[]byte) []Entry {
	*data = before
	had := map[string]bool{}
	old, _ := ParseIndex(before)
	for i := range old {
		had[old[i].serial()] = true
	}
	var out []Entry
	for _, e := range rows {
		if !had[FormatSerial(e.Serial)] {
			out = append(out, e)
		}
	}
	return out
}

// revokedAgain are the rows, by their text, of who is in a CRL and is valid by index.txt, as they shall be.
func (o *Observed) revokedAgain() map[string]Entry {
	out, listed := map[string]Entry{}, o.CRL.inLists()
	for _, serial := range o.unrevoked() {
		e, _ := o.db.row(serial)
		r := listed[serial]
		text := e.row()
		e.Status, e.Revoked, e.Reason, e.raw = Revoked, r.RevocationTime, reasonOf(r.ReasonCode), ""
		out[text] = e
	}
	return out
}

// replaceRows changes those lines of index.txt, and no other byte.
func replaceRows(data []byte, rows map[string]Entry) []byte {
	if len(rows) == 0 {
		return data
	}
	var out []byte
	for line := range bytes.Lines(data) {
		if e, ok := rows[string(bytes.TrimSuffix(line, []byte("\n")))]; ok {
			line = formatIndex([]Entry{e})
		}
		out = append(out, line...)
	}
	return out
}
