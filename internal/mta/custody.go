package mta

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mailcertd/internal/durable"
)

// custody returns who, other than root and the user of this process, could change the file that a path leads to, or a
// directory or link on the way; "" where nobody could. mailcertd must not let such a file decide which process root
// signals or which program root runs. A sticky bit keeps others from replacing files that are not theirs, but not from
// making links. hint says how to correct it.
func custody(path string) (who, hint string) {
	n := durable.Look(path).Located()
	if n.Err != nil {
		return n.Err.Error(), "run as root"
	}
	if !n.Exists {
		return path + " is missing", ""
	}
	if who, hint = keepers(n.Resolved); who != "" {
		return who, hint
	}
	for _, dir := range linkedFrom(path) {
		if who, hint = keepers(dir); who != "" {
			return who, hint
		}
	}
	return "", ""
}

// mostLinks is how many symbolic links one path may lead through, as the kernels allow (MAXSYMLINKS, SYMLOOP_MAX).
const mostLinks = 40

// linkedFrom returns the directories that contain the links on a path, without any link in their own paths.
func linkedFrom(path string) (dirs []string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	at, todo := "/", strings.Split(abs, "/")
	for len(todo) > 0 && len(dirs) < mostLinks {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(at, name) // correct for ".." too, since at has no link in it
		n := durable.Look(next)
		if n.Kind != durable.Link {
			at = next
			continue
		}
		dirs = append(dirs, at)
		if filepath.IsAbs(n.Target) {
			at = "/"
		}
		todo = append(strings.Split(n.Target, "/"), todo...)
	}
	return dirs
}

// keepers is custody for a path without any link in it.
func keepers(path string) (who, hint string) {
	owners := []uint32{0}
	if uid := uint32(unix.Geteuid()); uid != 0 {
		owners = append(owners, uid)
	}
	for at, first := path, true; ; at, first = filepath.Dir(at), false {
		d := durable.Look(at)
		switch writable := d.Mode.Perm() & 0o022; {
		case d.Err != nil:
			return d.Err.Error(), "run as root"
		case !slices.Contains(owners, d.UID):
			return fmt.Sprintf("%s belongs to user %d, who is not root", at, d.UID), "chown root " + at
		case writable != 0 && (first || d.Mode&fs.ModeSticky == 0):
			return fmt.Sprintf("%s can be written by users other than root (mode %04o)", at, d.Mode.Perm()),
				"chmod go-w " + at
		}
		if at == "/" {
			return "", ""
		}
	}
}

func pidFileID(n durable.Node) string {
	return fmt.Sprintf("%d:%d:%d", n.Dev, n.Ino, n.Modified.UnixNano())
}
