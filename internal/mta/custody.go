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

// Custody says who else than root, and for an unprivileged mailcertd than its
// own user, could change what a path leads to: the file, or a directory above
// it. "" is nobody. Such a file decides neither whom root signals nor what root
// runs. In a directory with a sticky bit others cannot replace what is not theirs; a
// link there is anybody's.
func Custody(path string) (who, hint string) {
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

// mostLinks is how many links a path may lead through, as MAXSYMLINKS and SYMLOOP_MAX have it.
const mostLinks = 40

// linkedFrom are the directories in which the links of a path lie, without any link in them.
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
		next := filepath.Join(at, name) // also of "..": at has no link in it
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

// keepers is Custody for a path without any link in it.
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

// StillThere says, at little cost, that a process with this pid is there and
// that the pid file is the one of this instance: for waiting, not for deciding.
func (i Instance) StillThere() bool {
	n := durable.Look(i.PIDFile)
	return i.PID > 1 && unix.Kill(i.PID, 0) != unix.ESRCH && n.Exists && pidFileID(n) == i.PIDFileID
}

func pidFileID(n durable.Node) string {
	return fmt.Sprintf("%d:%d:%d", n.Dev, n.Ino, n.Modified.UnixNano())
}
