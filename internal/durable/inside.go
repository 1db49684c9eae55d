package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mostLinks is how many symbolic links one path may lead through, as the kernels allow (MAXSYMLINKS, SYMLOOP_MAX).
const mostLinks = 40

// part is one name of a path that still has to be followed.
type part struct {
	name     string
	fromLink bool // it comes from the text of a link
}

// ErrNowhere is the kind of an error of Inside where the path does not exist outside of root either, so that a reader
// may take it for a missing file.
var ErrNowhere = errors.New("it does not exist")

type nowhere struct{ error }

func (e nowhere) Unwrap() error        { return e.error }
func (e nowhere) Is(target error) bool { return target == ErrNowhere }

// Inside is path as a process in chroot(2) root would reach it: an absolute link starts at root, and no link leads
// above it. path must be below root. It is returned unchanged if none of its links leads out of root. The error is for
// a link that leads out of root and whose target does not exist within root: a file that is made through it would be
// created elsewhere.
func Inside(root, path string) (string, error) {
	at, err := inside(root, path)
	if err != nil {
		if n := Look(path); !n.Exists && !n.Unread() {
			err = nowhere{err}
		}
	}
	return at, err
}

func inside(root, path string) (string, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return path, nil // not below root: a person has named it so
	}
	todo := parts(rel, false)
	at, links, left := root, 0, ""
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		switch p.name {
		case "", ".":
			continue
		case "..":
			if at == root {
				left = path
			} else {
				at = filepath.Dir(at)
			}
			continue
		}
		next := filepath.Join(at, p.name)
		fi, err := lstat(next)
		switch {
		case absent(err) && p.fromLink && left != "":
			return "", fmt.Errorf("%s: this link points outside of %s, and %s does not exist inside: "+
				"create that directory, or make the link relative", left, root, next)
		case err != nil && !absent(err):
			return "", err
		case err != nil, fi.Mode()&os.ModeSymlink == 0:
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("%s: %w", path, unix.ELOOP)
		}
		target, err := readlink(next)
		if err != nil {
			return "", err
		}
		if target == "" {
			return "", errors.New(next + ": the link is empty")
		}
		if filepath.IsAbs(target) {
			if within, err := filepath.Rel(root, target); err == nil && filepath.IsLocal(within) {
				target = within // it names root itself, and does not leave it
			} else {
				left = next
			}
			at = root
		} else if out, err := filepath.Rel(root, filepath.Join(at, target)); err == nil && !filepath.IsLocal(out) {
			left = next
		}
		todo = append(parts(target, true), todo...)
	}
	if left == "" {
		return path, nil
	}
	return at, nil
}

func parts(path string, fromLink bool) []part {
	var out []part
	for name := range strings.SplitSeq(path, "/") {
		out = append(out, part{name, fromLink})
	}
	return out
}
