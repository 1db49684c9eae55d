package ca

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A reader returns the rows of the file, in any order and of any length.
func TestReader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 12<<20)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var inOrder, long, inNone []place
	for at := 0; at+57 < len(data); at += 57 {
		inOrder = append(inOrder, place{at: int64(at), length: 57})
	}
	backwards := slices.Clone(inOrder)
	slices.Reverse(backwards)
	for range 50_000 {
		at := rnd.IntN(len(data))
		inNone = append(inNone, place{at: int64(at), length: int32(rnd.IntN(min(300, len(data)-at) + 1))})
	}
	for range 20 {
		at := rnd.IntN(len(data) - mostText - 1000)
		long = append(long, place{at: int64(at), length: int32(mostText + rnd.IntN(1000))},
			place{at: int64(at), length: 7})
	}
	for name, rows := range map[string][]place{"in order": inOrder, "backwards": backwards, "in no order": inNone,
		"long ones": long} {
		r := &reader{f: f}
		for len(rows) > 0 {
			n, err := r.read(rows)
			if err != nil || n == 0 || len(r.texts) != n {
				t.Fatalf("%s: %d of %d rows, %d texts: %v", name, n, len(rows), len(r.texts), err)
			}
			for i, text := range r.texts {
				if p := rows[i]; !bytes.Equal(text, data[p.at:p.at+int64(p.length)]) {
					t.Fatalf("%s: %d octets at %d differ", name, p.length, p.at)
				}
			}
			rows = rows[n:]
		}
	}
	r := &reader{f: f}
	if _, err := r.read([]place{{at: int64(len(data)) - 5, length: 6}}); err == nil {
		t.Error("bytes after the end were read")
	}
}
