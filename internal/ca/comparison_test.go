package ca

import (
	"fmt"
	"math/rand"
	"testing"
)

// Every serial that occurs twice is found, and every file's row, whether the rows fill no batch, one or many.
func TestComparison(t *testing.T) {
	for _, rows := range []int{0, 1, fewHashes - 1, fewHashes, fewHashes + 1, fewHashes + manyHashes,
		fewHashes + manyHashes + 1, 10*manyHashes + 17} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			r := rand.New(rand.NewSource(int64(rows)))
			files := &keySet{}
			var hashes []hash
			twice := map[hash]bool{}
			for i := range rows {
				h := hashOf(uint64(i))
				if i > 0 && r.Intn(max(2, rows/5)) == 0 {
					h = hashes[r.Intn(i)]
					twice[h] = true
				} else if r.Intn(2) == 0 {
					files.add(h)
				}
				hashes = append(hashes, h)
			}
			stray := hashOf(uint64(rows) + 1)
			files.add(stray)
			c := newComparison(files, int64(rows)*octetsOfRow)
			for _, h := range hashes {
				c.add(h)
			}
			c.finish()
			for _, h := range c.twice {
				delete(twice, h)
			}
			if len(twice) > 0 {
				t.Errorf("%d serials that occur twice were not found", len(twice))
			}
			if files.marked != files.len()-1 || !files.unmarked(stray) {
				t.Errorf("%d of %d files have a row", files.marked, files.len())
			}
		})
	}
}
