package watch

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxEntries bounds how many entries of one directory a sweep examines.
const maxEntries = 4096

// mark is the result of lstat(2) and readlink(2) for one name, and of stat(2) for the target of a link. A sweep runs
// six times a minute for years, so it makes only these system calls and does little else.
type mark struct {
	there, behind stat
	target        string
}

type stat struct {
	mode         uint32 // with the file type; 0: nothing exists there
	uid, gid     uint32
	size         int64
	mtime, ctime int64 // ns
	dev, ino     uint64
}

type fingerprint map[string]mark

// ours reports whether a name is a temporary name of mailcertd, which only mailcertd changes.
func ours(name string) bool {
	return name == ".mailcertd" || strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".mailcertd")
}

// identify returns device and inode of a directory; zeros where there is none.
func identify(path string) [2]uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return [2]uint64{}
	}
	return [2]uint64{uint64(st.Dev), st.Ino}
}

// take sweeps: it examines every entry of the directories, and the files.
func (w *Watcher) take() fingerprint {
	w.sweeps.Add(1)
	paths := w.watched()
	f := make(fingerprint, 64)
	for _, d := range slices.Concat(paths.Dirs, paths.Optional, paths.Swept) {
		f[d] = look(d)
		for _, n := range names(d) {
			if !ours(n) {
				p := d + "/" + n
				f[p] = look(p)
			}
		}
	}
	for _, p := range paths.Files {
		f[p] = look(p)
	}
	return f
}

// names reads a directory with its own system calls, because the package os would make twice as many for Go's poller.
func names(dir string) []string {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var out []string
	var buf [8192]byte
	for len(out) < maxEntries {
		n, err := unix.ReadDirent(fd, buf[:])
		if n <= 0 || err != nil {
			break
		}
		_, _, out = unix.ParseDirent(buf[:n], -1, out)
	}
	return out
}

func look(path string) mark {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return mark{}
	}
	m := mark{there: describe(&st)}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		var buf [1024]byte
		if n, err := unix.Readlink(path, buf[:]); err == nil {
			m.target = string(buf[:n])
		}
		if unix.Stat(path, &st) == nil {
			m.behind = describe(&st)
		}
	}
	return m
}

// describe leaves out size and times of a directory. They also change with our own temporary files, and all other
// entries are examined themselves.
func describe(st *unix.Stat_t) stat {
	s := stat{mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, dev: uint64(st.Dev), ino: st.Ino}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		s.size, s.mtime, s.ctime = st.Size, st.Mtim.Nano(), st.Ctim.Nano()
	}
	return s
}

// differs returns the first path, in sorted order, at which two fingerprints differ.
func (f fingerprint) differs(old fingerprint) (string, bool) {
	first, changed := "", false
	note := func(p string) {
		if !changed || p < first {
			first, changed = p, true
		}
	}
	for p, m := range f {
		if was, ok := old[p]; !ok || was != m {
			note(p)
		}
	}
	if len(f) != len(old) || changed {
		for p := range old {
			if _, ok := f[p]; !ok {
				note(p)
			}
		}
	}
	return first, changed
}
