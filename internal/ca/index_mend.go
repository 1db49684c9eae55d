package ca

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	"mailcertd/internal/durable"
)

// rewrites says whether the repair of what was found will write all of index.txt from what was read. The caller then
// reads it twice, because another program may have been in the middle of writing it.
func rewrites(found []Fault) bool {
	return slices.ContainsFunc(found, func(f Fault) bool {
		switch f.Kind {
		case FaultOrphan, FaultIndexMissing, FaultIndexBlank, FaultIndexTorn, FaultIndexOpen, FaultUnrevoked:
			return f.Repairable
		}
		return false
	})
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
		rows, torn := parseIndex(n.Data)
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
	old, _ := parseIndex(before)
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
func revokedAgain(o *Observed) map[string]Entry {
	out, listed := map[string]Entry{}, o.CRL.inLists()
	for _, e := range unrevoked(o) {
		r, text := listed[e.serial()], e.row()
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

// mendIndex writes the missing rows, cuts off a torn last row after a copy was made, and revokes what a CRL lists.
func mendIndex(disk *durable.Disk, o *Observed) error {
	dir := o.Dir.Path
	path := filepath.Join(dir, indexName)
	have := durable.Read(path, maxIndex)
	if have.Err != nil {
		return have.Err
	}
	if seen := o.db.node; have.Kind != seen.Kind || have.Exists != seen.Exists || have.Exists && !same(have, seen) {
		return fmt.Errorf("%s: %w", path, errMoved)
	}
	torn := o.db.torn || cutRepairable(o)
	var rows []Entry
	for _, or := range orphans(o) {
		if or.err == nil {
			rows = append(rows, or.row)
		}
	}
	again := revokedAgain(o)
	if !torn && !o.db.blank && !o.db.open() && len(rows) == 0 && len(again) == 0 && have.Exists {
		return nil
	}
	if !have.Exists {
		before, err := interruptedIndex(dir)
		if err != nil {
			return err
		}
		rows = missingFrom(before, rows, &have.Data)
	}
	if torn {
		if err := keepAside(disk, path); err != nil {
			return err
		}
	}
	data := have.Data
	if torn {
		data = data[:lastLine(data)]
	} else if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data[:len(data):len(data)], '\n')
	}
	data = withoutBlanks(replaceRows(data, again))
	for _, e := range rows {
		o.db.seeNumber(e.Serial)
		data = append(data, formatIndex([]Entry{e})...)
	}
	if !saysNotUnique(dir) && sharedSubject(data) { // first, since openssl refuses such rows without it
		if err := notUnique(disk, dir); err != nil {
			return err
		}
	}
	return put(disk, path, data, publicMode)
}

// sharedSubject says whether two valid rows have the same subject.
func sharedSubject(data []byte) bool {
	rows, _ := parseIndex(data)
	seen := map[string]string{}
	for i := range rows {
		if e := &rows[i]; e.Err == nil && e.Status == Valid {
			if was, other := seen[e.Subject]; other && was != e.serial() {
				return true
			}
			seen[e.Subject] = e.serial()
		}
	}
	return false
}

// withoutBlanks is a copy of data without empty lines.
func withoutBlanks(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) > 0 {
			out = append(out, line...)
		}
	}
	return out
}

func lastLine(data []byte) int {
	for i := len(data) - 1; i >= 0; i-- {
		if data[i] == '\n' {
			return i + 1
		}
	}
	return 0
}
