package ca

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Overview opens few files of a CA whose hosts were renewed very often, and still finds the certificates that nothing
// has replaced. When no more files may be opened, certificates whose CN is not a host name are returned without looking
// for later ones.
func TestOverviewOpensFewFiles(t *testing.T) {
	const hosts, rows = 20, 5000
	for _, c := range []struct {
		name, odd string // the CN of the last row
		want      []string
	}{
		{"hosts alone", "h19.example.org", []string{"1375", "1376", "1377"}},
		{"one that is not a host name", "Mail server", []string{"1374", "1375", "1376"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := made(t)
			var text []byte
			for i := range rows {
				cn := fmt.Sprintf("h%d.example.org", i%hosts)
				if i == rows-1 {
					cn = c.odd
				}
				text = fmt.Appendf(text, "V\t%s\t\t%s\tunknown\t/CN=%s\n", formatTime(start.AddDate(0, 0, 10+i)),
					FormatSerial(big.NewInt(int64(i+1))), cn)
			}
			if err := os.WriteFile(filepath.Join(o.Dir, indexName), text, 0o644); err != nil {
				t.Fatal(err)
			}
			opened := 0
			testOnlyOpened = func() { opened++ }
			t.Cleanup(func() { testOnlyOpened = nil })
			counts, next, err := Overview(Observe(o.Dir, Filter{}), start, len(c.want))
			if got := serialsOf(next); err != nil || counts.Valid != rows || !slices.Equal(got, c.want) {
				t.Errorf("%v %v %v, want %v", counts, got, err, c.want)
			}
			if opened > mostOpened {
				t.Errorf("%d files were opened, want %d at most", opened, mostOpened)
			}
		})
	}
}

// In a database whose names are too long for a CN, Overview opens no more files either: it returns the certificates
// that end first.
func TestOverviewOpensFewNamelessFiles(t *testing.T) {
	o, _ := made(t)
	var text []byte
	for i := range 2 * mostOpened {
		text = fmt.Appendf(text, "V\t%s\t\t%s\tunknown\t/O=Example\n", formatTime(start.AddDate(0, 0, 10+i)),
			FormatSerial(big.NewInt(int64(i+1))))
	}
	if err := os.WriteFile(filepath.Join(o.Dir, indexName), text, 0o644); err != nil {
		t.Fatal(err)
	}
	opened := 0
	testOnlyOpened = func() { opened++ }
	t.Cleanup(func() { testOnlyOpened = nil })
	_, next, err := Overview(Observe(o.Dir, Filter{}), start, 3)
	if got := serialsOf(next); err != nil || !slices.Equal(got, []string{"01", "02", "03"}) || opened > mostOpened {
		t.Errorf("%v %v, %d files opened", got, err, opened)
	}
}
