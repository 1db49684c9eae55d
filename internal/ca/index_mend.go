package ca

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"

	"mailcertd/internal/durable"
)

// restWait is how long index.txt must stay as it is before it is written whole.
// An editor, or a cat, that writes it in place may be at work.
var restWait = 100 * time.Millisecond

// rewrites says that a mend will write index.txt whole, on the strength of what
// stands in it.
func (o *Observed) rewrites() bool {
	for _, f := range o.Faults {
		switch f.Kind {
		case FaultOrphan, FaultIndexMissing, FaultIndexBlank, FaultIndexTorn, FaultUnrevoked:
			if f.Mendable {
				return true
			}
		}
	}
	return false
}

// rested waits until index.txt does not change; an error says that it does.
func rested(dir string) error {
	path := filepath.Join(dir, indexName)
	before := durable.Look(path)
	for range settleTries {
		time.Sleep(restWait)
		now := durable.Look(path)
		if now.Err != nil {
			return now.Err
		}
		if same(before, now) {
			return nil
		}
		before = now
	}
	return fmt.Errorf("%s: somebody is writing it: it is mended when that is done", path)
}

// interruptedIndex is what index.txt was where it is missing: `openssl ca` writes
// index.txt.new, renames index.txt to index.txt.old and the new one to its place,
// and can be killed in between. nil: there is nothing of the kind.
func interruptedIndex(dir string) []byte {
	for _, tail := range []string{".new", ".old"} {
		n := durable.Read(filepath.Join(dir, indexName+tail), maxIndex)
		if n.Err != nil || len(n.Data) == 0 || n.Data[len(n.Data)-1] != '\n' {
			continue
		}
		rows, torn := ParseIndex(n.Data)
		if whole := !torn && len(rows) > 0; whole && !anyUnread(rows) {
			return n.Data
		}
	}
	return nil
}

func anyUnread(rows []Entry) bool {
	for i := range rows {
		if rows[i].Err != nil {
			return true
		}
	}
	return false
}

// missingFrom makes data what stood in index.txt, and gives the rows that it lacks.
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

// revokedAgain are the rows, by their text, of who stands in a CRL and is valid by
// index.txt, as they shall be.
func (o *Observed) revokedAgain() map[string]Entry {
	out := map[string]Entry{}
	for _, serial := range o.unrevoked() {
		i, _ := o.db.row(serial)
		e, r := o.Index[i], o.CRL.inLists()[serial]
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
