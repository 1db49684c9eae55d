package ca

import (
	"bytes"
	"path/filepath"

	"mailcertd/internal/durable"
)

// rewrites says whether a repair will write all of index.txt from what was read. The caller then reads it twice,
// because another program may have been in the middle of writing it.
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

// interruptedIndex returns the content of index.txt.new or index.txt.old, for an index.txt that is missing: `openssl
// ca` writes index.txt.new, renames index.txt to index.txt.old and index.txt.new to index.txt, and may be killed
// between the two renames. It returns nil where neither file is whole. Where one cannot be read it returns the error:
// without that file, revoked certificates would count as valid.
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

// missingFrom sets data to before, and returns those of rows that before lacks.
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

// revokedAgain returns the rows that index.txt says are valid but that a CRL lists, already changed to revoked, by
// their present text.
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

// replaceRows replaces the lines of data whose text is a key of rows. All other bytes stay.
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
