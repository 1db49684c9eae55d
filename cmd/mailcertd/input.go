package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mailcertd/internal/durable"
)

// input reads a file, or standard input for "-" and "". A file with more than most bytes is an error.
func (c *console) input(path string, most int64) ([]byte, error) {
	from := c.in
	if path != "" && path != "-" {
		f, err := durable.Open(path) // this does not block on a FIFO without a writer
		if err != nil {
			return nil, reasonOf(err)
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, reasonOf(err)
		}
		// A pipe of the shell has a writer: /dev/stdin, or <(command), which is /dev/fd/N.
		piped := path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/")
		if !st.Mode().IsRegular() && !(piped && st.Mode()&os.ModeNamedPipe != 0) {
			f.Close()
			return nil, errors.New("is not a regular file: for a pipe, use - and standard input")
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("is larger than %d bytes", most)
	}
	return data, err
}

// reasonOf returns the system's reason without the path, because the caller names the file.
func reasonOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
