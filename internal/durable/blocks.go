package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// blockSize is how many octets of a file Blocks reads at a time.
const blockSize = 256 << 10

// longestLine bounds a line, in octets. It keeps a file without line feeds, such as the NUL octets that a power failure
// may leave, out of memory.
const longestLine = 4 << 20

// Blocks reads a file of lines, and passes it to take in pieces of whole lines: each piece ends with a line feed,
// except the last one of a file that does not. A piece is valid until the next one. Reading ends when take returns
// false. The memory that it needs grows with the longest line, not with the file. ErrTooLarge is for a line of more
// than 4 MiB, or a file of more than limit octets. The Node has no Data, and describes the file as it was when it was
// opened.
func Blocks(path string, limit int64, take func(block []byte) bool) Node {
	f, n := openRegular(path)
	if f == nil {
		return n
	}
	defer f.Close()
	if n.Err = before("read", path); n.Err != nil {
		return n
	}
	if n.Size > limit { // checked first, so that such a file is not read at all
		n.Err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
		return n
	}
	buf := make([]byte, min(blockSize, max(n.Size, 0)+512))
	var have, whole int64
	for {
		if have == int64(len(buf)) { // a line that is longer than a block
			if have >= longestLine {
				n.Err = fmt.Errorf("%s: %w: a line of more than %d bytes", path, ErrTooLarge, longestLine)
				return n
			}
			buf = append(buf, make([]byte, len(buf))...)
		}
		got, err := f.Read(buf[have:])
		have += int64(got)
		if whole += int64(got); whole > limit {
			n.Err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
			return n
		}
		switch {
		case errors.Is(err, io.EOF):
			if have > 0 {
				take(buf[:have])
			}
			return n
		case err != nil:
			n.Err = err
			return n
		}
		end := bytes.LastIndexByte(buf[:have], '\n') + 1
		if end == 0 {
			continue
		}
		if !take(buf[:end]) {
			return n
		}
		have = int64(copy(buf, buf[end:have]))
	}
}
