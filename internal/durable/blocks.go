package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
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
	r := &lineReader{f: f, limit: limit, buf: make([]byte, min(blockSize, max(n.Size, 0)+512))}
	next := r.next
	if n.Size > blockSize {
		ahead, stop := r.ahead()
		defer stop()
		next = ahead
	}
	for {
		block, err := next()
		if len(block) > 0 && !take(block) {
			return n
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				n.Err = err
			}
			return n
		}
	}
}

// lineReader reads a file in pieces of whole lines, into two buffers in turn.
type lineReader struct {
	f          *os.File
	limit      int64
	whole      int64 // octets that were read
	buf, other []byte
	rest       []byte // what buf has after the last piece
}

// next returns the next piece, which is valid until the call after the next one has begun. At the end its error is
// io.EOF, beside the last piece, which may be empty.
func (r *lineReader) next() ([]byte, error) {
	if len(r.other) < len(r.buf) {
		r.other = make([]byte, len(r.buf))
	}
	have := copy(r.other, r.rest)
	r.buf, r.other, r.rest = r.other, r.buf, nil
	for {
		if have == len(r.buf) { // a line that is longer than a block
			if have >= longestLine {
				return nil, fmt.Errorf("%s: %w: a line of more than %d bytes", r.f.Name(), ErrTooLarge, longestLine)
			}
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		got, err := r.f.Read(r.buf[have:])
		have += got
		if r.whole += int64(got); r.whole > r.limit {
			return nil, fmt.Errorf("%s: %w: more than %d bytes", r.f.Name(), ErrTooLarge, r.limit)
		}
		switch {
		case errors.Is(err, io.EOF):
			return r.buf[:have], io.EOF
		case err != nil:
			return nil, err
		}
		if end := bytes.LastIndexByte(r.buf[:have], '\n') + 1; end > 0 {
			r.rest = r.buf[end:have]
			return r.buf[:end], nil
		}
	}
}

// ahead returns a function that does the same as next, and has the piece after the one that it returns read by a
// goroutine meanwhile. stop ends that goroutine, and must be called. The channel has no buffer, so that a piece is
// handed over when the one before it is no longer used: only then may its buffer be read into again.
func (r *lineReader) ahead() (next func() ([]byte, error), stop func()) {
	type piece struct {
		block []byte
		err   error
	}
	pieces, stopped := make(chan piece), make(chan struct{})
	go func() {
		defer close(pieces)
		for {
			var p piece
			p.block, p.err = r.next()
			select {
			case pieces <- p:
			case <-stopped:
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
	return func() ([]byte, error) {
			p := <-pieces
			return p.block, p.err
		}, func() {
			close(stopped)
			for range pieces { // until the goroutine has ended
			}
		}
}
