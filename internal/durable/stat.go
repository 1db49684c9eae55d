package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// Writable returns why this process cannot make a file in dir, by access(2): the file system is read-only, or the
// permissions or an immutable flag forbid it. nil is no promise, since the file system may be full.
func Writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

// Stat describes what is at path through links, with one stat(2). It sets neither Target nor Resolved, and Kind only to
// Unknown. Err is nil where nothing exists.
func Stat(path string) Node {
	n := Node{Path: path}
	si, err := stat(path)
	if err != nil {
		if !absent(err) {
			n.Kind, n.Err = Unknown, err
		}
		return n
	}
	n.describe(si)
	return n
}
