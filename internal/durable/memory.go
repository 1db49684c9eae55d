package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// InMemory names the memory file system on which path is, or would be made: a boot empties it. It is "" for any other
// file system, and where it cannot be found out.
func InMemory(path string) string {
	for ; ; path = filepath.Dir(path) {
		if before("statfs", path) != nil {
			return ""
		}
		name, err := memoryFS(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return name
		}
	}
}
