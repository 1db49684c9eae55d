package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Stat describes what path leads to and nothing of the entry itself: one
// stat(2), where Look needs one for every part of the path. Kind, Target and
// Resolved stay empty. Err is nil also where nothing is there.
func Stat(path string) Node {
	n := Node{Path: path}
	si, err := os.Stat(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			n.Err = err
		}
		return n
	}
	n.describe(si)
	return n
}
