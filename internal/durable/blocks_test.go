package durable

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
)

// lines makes about that many octets of lines, some of them longer than a block.
func lines(r *rand.Rand, size int) (out []byte) {
	for len(out) < size {
		n := r.Intn(120)
		if r.Intn(1000) == 0 {
			n = r.Intn(3 * blockSize)
		}
		out = append(out, bytes.Repeat([]byte{byte('a' + r.Intn(26))}, n)...)
		out = append(out, '\n')
	}
	return out
}

// The pieces together are the file, each ends with a line feed, and none changes while it is used, although the next
// one is read meanwhile.
func TestBlocks(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, size := range []int{0, 1, 511, blockSize - 1, blockSize, blockSize + 1, 5 * blockSize, 40 * blockSize} {
		for _, tail := range []string{"", "no line feed"} {
			want := append(lines(r, size)[:size:size], tail...)
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, want, 0o600); err != nil {
				t.Fatal(err)
			}
			var got []byte
			n := Blocks(path, 1<<30, func(block []byte) bool {
				got = append(got, block...)
				if len(got) < len(want) && block[len(block)-1] != '\n' {
					t.Errorf("%d octets, %q: a piece ends with %q", size, tail, block[len(block)-1])
				}
				at := len(got) - len(block)
				for range 20 {
					if !bytes.Equal(block, want[at:len(got)]) {
						t.Fatalf("%d octets, %q: the piece at %d is another one", size, tail, at)
					}
				}
				return true
			})
			if n.Err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d octets, %q: %v, %d octets were passed", size, tail, n.Err, len(got))
			}
		}
	}
}

// Reading ends when nobody wants more, and where the file has grown over the limit.
func TestBlocksEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := lines(rand.New(rand.NewSource(2)), 9*blockSize)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for most := 1; most < 4; most++ {
		taken := 0
		n := Blocks(path, 1<<30, func([]byte) bool { taken++; return taken < most })
		if n.Err != nil || taken != most {
			t.Errorf("%d pieces, %v", taken, n.Err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	grown := false
	n := Blocks(path, int64(len(data)), func([]byte) bool {
		if !grown {
			grown = true
			if _, err := f.Write([]byte("a line more\n")); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if !errors.Is(n.Err, ErrTooLarge) {
		t.Errorf("the file has grown over the limit: %v", n.Err)
	}
}
