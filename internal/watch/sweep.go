package watch

import (
	"os"
	"path/filepath"
	"sort"
	"strings"

	"mailcertd/internal/durable"
)

// maxEntries bounds what is swept of one directory.
const maxEntries = 4096

// mark is what lstat(2) and readlink(2) say of one name, and what lies behind
// a link.
type mark struct {
	kind     durable.Kind
	target   string
	mode     uint32
	uid, gid uint32
	size     int64
	mtime    int64
	ctime    int64
	dev, ino uint64
}

type fingerprint map[string]mark

// ours are the names that change with our own work alone.
func ours(name string) bool {
	return name == ".mailcertd" || strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".mailcertd")
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// take looks at every entry of the directories and at the files.
func (w *Watcher) take() fingerprint {
	f := fingerprint{}
	for _, d := range w.o.Dirs {
		f[d] = look(d, true)
		names, err := readNames(d)
		if err != nil {
			continue
		}
		for _, n := range names {
			if !ours(n) {
				p := filepath.Join(d, n)
				f[p] = look(p, isDir(p))
			}
		}
	}
	for _, p := range w.o.Files {
		f[p] = look(p, false)
	}
	return f
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxEntries)
	return names, nil
}

// look leaves out the times of a directory: they change with the entries in
// it, which are looked at themselves, our own temporary ones excepted.
func look(path string, dir bool) mark {
	n := durable.Look(path)
	m := mark{kind: n.Kind, target: n.Target, mode: uint32(n.Mode), uid: n.UID, gid: n.GID, dev: n.Dev, ino: n.Ino}
	if !dir {
		m.size, m.mtime, m.ctime = n.Size, n.Modified.UnixNano(), n.Changed.UnixNano()
	}
	if !n.Exists {
		m.mtime, m.ctime = 0, 0
	}
	return m
}

// differs names one path, the first in order, at which two fingerprints differ.
func (f fingerprint) differs(old fingerprint) (string, bool) {
	var paths []string
	for p, m := range f {
		if was, ok := old[p]; !ok || was != m {
			paths = append(paths, p)
		}
	}
	for p := range old {
		if _, ok := f[p]; !ok {
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	if len(paths) == 0 {
		return "", false
	}
	return paths[0], true
}
