package ca

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// naive computes what a pass over index.txt finds, by holding all rows.
func naive(data string, q question) *database {
	db := &database{answers: answersTo(q), plain: true, highest: new(big.Int)}
	rows, torn := parseIndex([]byte(data))
	db.torn, db.whole, db.lines, db.rows = torn, data == "" || strings.HasSuffix(data, "\n"),
		strings.Count(data, "\n"), len(rows)
	for l := range strings.SplitSeq(strings.TrimSuffix(data, "\n"), "\n") {
		db.blank = db.blank || data != "" && strings.TrimSpace(l) == ""
	}
	first := map[string]int{}
	for i := range rows {
		e := &rows[i]
		if e.Err != nil {
			db.odd = append(db.odd, *e)
			if name := e.names(); name != "" {
				n, _ := parseSerial(name)
				db.seeNumber(n)
				db.named = map[string]bool{}
			} else if strings.HasPrefix(e.raw, "R") {
				db.lost = true
			}
			continue
		}
		db.seeNumber(e.Serial)
		if at, twice := first[e.serial()]; twice {
			e.refused = fmt.Sprintf("serial %s is also in line %d", e.serial(), rows[at].Line)
			if rows[at].Status != Revoked {
				first[e.serial()] = i
			}
		} else {
			first[e.serial()] = i
		}
		if e.refused != "" {
			db.odd = append(db.odd, *e)
		}
		if cn := e.commonName(); len(q.names) > 0 &&
			(cn == "" || slices.ContainsFunc(q.names, func(n string) bool { return strings.EqualFold(n, cn) })) {
			db.hosts = append(db.hosts, *e)
		}
		if e.Status == Revoked {
			for i, l := range q.lists {
				db.missing[i] = db.missing[i] || !l[e.serial()]
			}
		}
	}
	for serial := range q.serials {
		if i, known := first[serial]; known {
			db.found[serial] = rows[i]
		}
	}
	return db
}

// said returns everything that a pass has found, as text.
func (db *database) said() string {
	var b strings.Builder
	fmt.Fprintln(&b, db.rows, db.lines, db.whole, db.torn, db.blank, db.lost, db.highest, db.missing)
	one := func(e Entry) {
		fmt.Fprintf(&b, "%d %q %c %v %v %v %q %v %q\n", e.Line, e.raw, e.Status, e.Expires, e.Serial, e.Subject,
			e.Reason, e.Err, e.refused)
	}
	for _, e := range slices.Concat(db.odd, db.hosts) {
		one(e)
	}
	for _, serial := range sortedKeys(db.found) {
		one(db.found[serial])
	}
	return b.String()
}

func sameAsNaive(t *testing.T, dir, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, indexName), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	q := question{names: []string{"h7", "mail.example.org"},
		serials: map[string]bool{"07": true, "FFFF": true, "0A": true, "0B": true},
		lists:   []map[string]bool{{"0A": true}, {"0A": true, "07": true}}}
	db, err := readDatabase(dir, q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range db.hosts { // whether a row is there twice matters only for rows that are asked for by serial
		db.hosts[i].refused = ""
	}
	want := naive(data, q)
	for i := range want.hosts {
		want.hosts[i].refused = ""
	}
	if got, want := db.said(), want.said(); got != want {
		t.Fatalf("%.300q\nscanned:\n%.3000s\nheld:\n%.3000s", data, got, want)
	}
	rows, _ := parseIndex([]byte(data))
	i := 0
	scan(db.path, func(l *line) bool {
		e, w := l.entry(), rows[i]
		if e.raw != w.raw || e.Line != w.Line || data[l.at:l.at+int64(len(e.raw))] != e.raw ||
			l.readable() != (w.Err == nil) ||
			w.Err == nil && (string(l.serial) != w.serial() || l.expires != w.Expires.Unix() || l.status != w.Status ||
				string(l.subject) != w.Subject || string(commonName(l.subject)) != w.commonName() ||
				string(l.host()) != strings.ToLower(w.commonName())) {
			t.Fatalf("%q: row %d is %+v, want %+v", data, i, l, w)
		}
		i++
		return true
	})
	if i != len(rows) {
		t.Fatalf("%.300q: %d rows, want %d", data, i, len(rows))
	}
	for serial := range map[string]bool{"07": true, "0B": true, "FFFF": true} {
		found, err := db.lookUp(serial)
		w, known := want.found[serial]
		if e, have := found[serial]; err != nil || have != known || have && (e.raw != w.raw || e.Line != w.Line) {
			t.Fatalf("%.300q: looked up %s: %+v %v, want %+v %v", data, serial, e, err, w, known)
		}
	}
}

// Each octet at each place of a name decides whether it is a usual one.
func TestUsual(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				cn := bytes.Repeat([]byte{'a'}, length)
				cn[at] = byte(c)
				want := length >= 8 && c >= ' ' && c < 0x80 && c != '/' && (c < 0x40 || c > 0x5f)
				if got := usual(cn); got != want {
					t.Fatalf("%q: %v, want %v", cn, got, want)
				}
			}
		}
	}
}

// A large index.txt is scanned in blocks. The result is the same as when all rows are held.
func TestScan(t *testing.T) {
	const many = 20_000
	for _, c := range []struct{ name, every, end string }{
		{"rows alone", "", ""},
		{"blank lines", "\n", ""},
		{"comments", "# x\n", ""},
		{"lines that are no rows", "V\tx\n", ""},
		{"torn", "", "V\t2712"},
		{"torn revocation", "", "R\t2712"},
		{"without a line feed", "", "V\t361231000000Z\t\tFFFF\tunknown\t/CN=last"},
		{"a serial twice", "V\t361231000000Z\t\t07\tunknown\t/CN=h7\n", ""},
		{"a revoked one twice", "R\t361231000000Z\t261231000000Z,superseded\t0B\tunknown\t/CN=twice\n",
			"V\t361231000000Z\t\t0B\tunknown\t/CN=twice\n"},
		{"revoked", "R\t361231000000Z\t261231000000Z\t0A\tunknown\t/CN=gone\n", ""},
		{"a long line", "V\t361231000000Z\t\t07\tunknown\t/CN=h7/O=" + strings.Repeat("x", 10_000) + "\n", ""},
		{"small letters", "V\t361231000000Z\t\tffff\tunknown\t/O=x/CN=MAIL.example.org/C=y\n", ""},
	} {
		var text strings.Builder
		for i := range many {
			if i%500 == 0 {
				text.WriteString(c.every)
			}
			fmt.Fprintf(&text, "V\t361231000000Z\t\t%s\tunknown\t/CN=h%d\n", FormatSerial(big.NewInt(int64(i+1000))), i)
		}
		text.WriteString(c.end)
		t.Run(c.name, func(t *testing.T) { sameAsNaive(t, t.TempDir(), text.String()) })
		if c.name == "rows alone" {
			t.Run("every row twice", func(t *testing.T) { sameAsNaive(t, t.TempDir(), text.String()+text.String()) })
		}
	}
}

func FuzzScan(f *testing.F) {
	dir := f.TempDir()
	f.Add(
		"V\t360101000000Z\t\t07\tunknown\t/CN=h7\n" +
			"R\t20510101000000Z\t300101000000Z,keyCompromise\t0A\tunknown\t/C=JP/CN=x\n")
	f.Add("V\t36\nE\t491231235959Z\t\tFFFF\tunknown\t/\r\nR\t00000229010101Z\t000229235959Z\t0b\tunknown\t\n")
	f.Add(
		"V\t230229000000Z\t\t0B\tunknown\t/CN=h7\nV\t240229000000Z\t\t0B\tx\ty\tz\n" +
			"R\t240431000000Z\t\t1\tunknown\t/CN=\n")
	f.Add(
		"R\t360101000000Z\t300101000000Z,keyTime,20260101000000Z\t000A\tunknown\t/CN=a/CN=h7\n\n# " +
			"x\nV\t491231236000Z\t\tB\tunknown\t/CN=h7")
	f.Fuzz(func(t *testing.T, data string) { sameAsNaive(t, dir, data) })
}

// The dates of index.txt are parsed as time.Date does, for every day of the leap years of four centuries. A day that
// does not exist is not parsed.
func TestDates(t *testing.T) {
	for year := range 2401 {
		for month := 1; month <= 12; month++ {
			for _, day := range []int{0, 1, 28, 29, 30, 31, 32} {
				want := time.Date(year, time.Month(month), day, 23, 4, 59, 0, time.UTC)
				got, err := parseTime(fmt.Sprintf("%04d%02d%02d230459Z", year, month, day))
				if exists := want.Day() == day; (err == nil) != exists || exists && !got.Equal(want) {
					t.Fatalf("%04d-%02d-%02d: %v %v, want %v", year, month, day, got, err, want)
				}
				if year < 1950 || year > 2049 {
					continue
				}
				short, err := parseTime(fmt.Sprintf("%02d%02d%02d230459Z", year%100, month, day))
				if (err == nil) != (want.Day() == day) || err == nil && !short.Equal(want) {
					t.Fatalf("%04d-%02d-%02d in two digits: %v %v, want %v", year, month, day, short, err, want)
				}
			}
		}
	}
	for _, s := range []string{"", "Z", "270101000000", "270101000000z", "271301000000Z", "270001000000Z",
		"270101240000Z", "270101006000Z", "270101000060Z", "27010100000:Z", "2701010000/0Z", "99991231235959Z9"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// A sieve that is filled to its limit calls few keys present that are not, and no key absent that is present.
func TestSieve(t *testing.T) {
	const rows = 1_000_000
	drawn, counted := newSieve(60*rows), newSieve(60*rows)
	sift := func() (wrong int) {
		for i := uint64(0); i < rows; i += 100 {
			var keys, hashes []hash
			for k := i; k < i+100; k++ {
				keys, hashes = append(keys, hashOf(k)), append(hashes, hashOf(mix(k+1<<40)))
			}
			wrong += len(drawn.sift(hashes, nil)) + len(counted.sift(keys, nil))
		}
		return wrong
	}
	if wrong := sift(); wrong > 10 {
		t.Errorf("%d of two million keys are called present before they were added", wrong)
	}
	if there := sift(); there != 2*rows {
		t.Errorf("only %d of two million keys are called present after they were added", there)
	}
	kept, wrong := drawn.folded(), 0
	if n := len(kept.lines); n != keptSieve {
		t.Errorf("%d lines of 64 octets are kept", n)
	}
	for k := range uint64(rows) {
		if kept.never(hashOf(mix(k + 1<<40))) {
			t.Fatalf("key %d was added, and is called never seen", k)
		}
		if !kept.never(hashOf(mix(k + 1<<50))) {
			wrong++
		}
	}
	if wrong > rows/500 {
		t.Errorf("%d of a million keys that were not added are called seen", wrong)
	}
	if twice := newSieve(0).sift([]hash{7, 8, 9, 7, 8, 7}, nil); !slices.Equal(twice, []hash{7, 8, 7}) {
		t.Errorf("found as repeated: %v", twice)
	}
}
