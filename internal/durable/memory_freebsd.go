package durable

import (
	"strings"

	"golang.org/x/sys/unix"
)

// memoryFS is InMemory for a path that exists: tmpfs(5), or a memory disk of md(4), as varmfs in rc.conf(5) makes it.
func memoryFS(path string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "", err
	}
	kind, from := unix.ByteSliceToString(s.Fstypename[:]), unix.ByteSliceToString(s.Mntfromname[:])
	switch {
	case kind == "tmpfs":
		return kind, nil
	case strings.HasPrefix(from, "/dev/md"):
		return from, nil
	}
	return "", nil
}
