package ca

import (
	"bytes"
	"testing"
)

// A row that was read is written back byte for byte, and an entry that was parsed is the same after it was written and
// read again.
func FuzzIndex(f *testing.F) {
	f.Add(
		[]byte(
			"V\t360101000000Z\t\t19\tunknown\t/CN=old\n" +
				"R\t20510101000000Z\t300101000000Z,keyCompromise\t0A\tunknown\t/C=JP/CN=x\n"))
	f.Add([]byte("V\t36\nE\t491231235959Z\t\tFF\tunknown\t/\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, torn := parseIndex(data)
		if !torn && !bytes.Contains(data, []byte("#")) && len(rows) > 0 {
			again, _ := parseIndex(formatIndex(rows))
			if len(again) != len(rows) {
				t.Fatalf("%d rows became %d", len(rows), len(again))
			}
		}
		for _, e := range rows {
			if e.Err != nil {
				continue
			}
			e.raw = ""
			back := parseRow(e.row())
			if back.Err != nil || back.Serial.Cmp(e.Serial) != 0 || !back.Expires.Equal(e.Expires) ||
				back.Subject != e.Subject || back.Status != e.Status || back.Reason != e.Reason {
				t.Fatalf("%+v became %+v", e, back)
			}
		}
	})
}
