package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// Writable says why this process could not make a file in dir, by access(2): the
// file system is read-only, the directory immutable or somebody else's. nil is no
// promise: the file system may be full.
func Writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

// Stat describes what path leads to and nothing of the entry itself: one
// stat(2), where Look needs one for every part of the path. Target and Resolved
// stay empty, and so does Kind, unless it is Unknown. Err is nil also where
// nothing is there.
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
