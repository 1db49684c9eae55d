package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// blockSize is how much of a file Blocks reads at a time.
const blockSize = 256 << 10

// longestLine bounds a line, in bytes: what has no line feed for so long, such as zeros that a loss of power left, is
// not taken into memory.
const longestLine = 4 << 20

// Blocks reads a file of lines as Read does, and gives it to take in pieces of whole lines: each ends with a line feed,
// but for the last one where the file does not. A piece is good until the next one. false from take ends the reading.
// The memory that it needs grows with the longest line and not with the file; a line of more than 4 MiB gives
// ErrTooLarge. The Node has no Data, and is what the file was when it was opened.
func Blocks(path string, limit int64, take func(block []byte) bool) Node {
	f, n := openRegular(path)
	if f == nil {
		return n
	}
	defer f.Close()
	if n.Err = before("read", path); n.Err != nil {
		return n
	}
	if n.Size > limit { // as in Read; one without a line feed would be held as a whole
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
