package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Kind is the type of a directory entry, without following links.
type Kind int

// The kinds.
const (
	Missing   Kind = iota
	File           // a regular file
	Directory      // a directory
	Link           // a symbolic link, whatever its target
	Other          // a FIFO, socket or device
	// Unknown is an entry that could not be examined; Err says why. It may exist.
	Unknown
)

func (k Kind) String() string {
	return [...]string{"missing", "file", "directory", "symbolic link", "special file", "unknown"}[k]
}

// Node is one name on the disk at one moment: the type of the entry (lstat(2)) and, through links, what is there
// (stat(2)). It is a value of its own; to change it changes nothing on the disk.
type Node struct {
	Path   string // the name that was examined
	Kind   Kind   // the type of the entry itself
	Target string // Link: the text of the link, else ""
	// Resolved is the absolute path without any link in it. Only Located sets it; it is "" where the path does not
	// exist, or where Err says why it could not be found out.
	Resolved string

	// The result of stat(2), through links; all zero where Exists is false.
	Exists    bool        // false for a missing entry, for a dangling link, and where Err is set because stat failed
	IsDir     bool        // stat says directory
	IsRegular bool        // stat says regular file
	Waits     bool        // a FIFO or a device other than /dev/null: to open or read it may block for ever
	Mode      fs.FileMode // permission bits only (07777 in Unix terms: with setuid, setgid, sticky)
	UID, GID  uint32
	Size      int64
	Modified  time.Time // mtime
	Changed   time.Time // ctime
	Dev, Ino  uint64
	Nlink     uint64

	Data []byte // the content, from Read only; nil otherwise
	// Err is why it could not be examined or read, with the error number of the system. It is nil for a missing entry:
	// ENOENT, or ENOTDIR where a name above it is a file.
	Err error
}

// ErrTooLarge says that a file is larger than the limit of the reader.
var ErrTooLarge = errors.New("file is too large")

// ErrNotRegular says that what should be a file with content is not a regular file.
var ErrNotRegular = errors.New("not a regular file")

// absent says whether err means that the entry does not exist. After any other error it may exist.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// Unread says that Err is an error of the system, so that the content is not known and the next try may succeed. It is
// false for what cannot be read as a file in any case: a directory, a FIFO, a file that is too large, a link to itself.
func (n Node) Unread() bool {
	return n.Err != nil && !errors.Is(n.Err, ErrNotRegular) && !errors.Is(n.Err, ErrTooLarge) &&
		!(n.Kind == Link && errors.Is(n.Err, syscall.ELOOP))
}

// SameContent says whether o describes the same file with the same content, as far as inode, size and mtime tell. Mode
// and owner may differ.
func (n Node) SameContent(o Node) bool {
	return n.Kind == o.Kind && n.Exists == o.Exists && n.Dev == o.Dev && n.Ino == o.Ino && n.Size == o.Size &&
		n.Modified.Equal(o.Modified)
}

// Look describes path without reading it. It does not set Resolved, which costs a system call for each directory above
// it.
func Look(path string) Node {
	n := Node{Path: path}
	li, err := lstat(path)
	if err != nil {
		if !absent(err) {
			n.Kind, n.Err = Unknown, err
		}
		return n
	}
	n.Kind = kindOf(li.Mode())
	si := li
	if n.Kind == Link {
		if n.Target, err = readlink(path); err != nil {
			n.Err = err
			return n
		}
		if si, err = stat(path); err != nil {
			if !absent(err) {
				n.Err = err
			}
			return n
		}
	}
	n.describe(si)
	if n.Waits {
		n = n.Located()
		n.Waits = n.Resolved != os.DevNull
	}
	return n
}

// Located returns the Node with Resolved. It asks the disk each time, because a directory above may have become a link
// since.
func (n Node) Located() Node {
	if !n.Exists {
		return n
	}
	if r, err := Resolve(n.Path); err == nil {
		n.Resolved = r
	} else if !absent(err) {
		n.Err, n.Data = err, nil
	}
	return n
}

// Read describes path and reads it, through links. It never blocks on a FIFO and never reads a device: Err is then
// ErrNotRegular. For a file of more than limit octets Err is ErrTooLarge, without Data. A file that is removed
// meanwhile is missing.
func Read(path string, limit int64) Node {
	f, n := openRegular(path)
	if f == nil {
		return n
	}
	defer f.Close()
	if err := before("read", path); err != nil {
		n.Err = err
		return n
	}
	if n.Size > limit { // do not read any of it
		n.Err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
		return n
	}
	b := bytes.NewBuffer(make([]byte, 0, min(n.Size, limit)+bytes.MinRead))
	_, err := b.ReadFrom(io.LimitReader(f, limit+1))
	data := b.Bytes()
	switch {
	case err != nil:
		n.Err = err
	case int64(len(data)) > limit:
		n.Err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
	default:
		n.Data = data
	}
	return n
}

// renamedTries bounds the tries to open a file that is renamed or replaced between lstat and open.
const renamedTries = 10

// openRegular opens a regular file, and describes the file that was opened. Where the file is nil, the Node says why.
func openRegular(path string) (*os.File, Node) {
	n := Look(path)
	var f *os.File
	for try := 1; ; try++ {
		if !n.Exists || n.Err != nil {
			return nil, n
		}
		if !n.IsRegular {
			n.Err = fmt.Errorf("%s: %w", path, ErrNotRegular)
			return nil, n
		}
		var err error
		if f, err = Open(path); err == nil {
			break
		}
		if !absent(err) || try == renamedTries {
			n.Err = err
			return nil, n
		}
		n = Look(path) // it was removed, or another file is being renamed to its place
	}
	si, err := f.Stat()
	if err == nil {
		n.describe(si) // the open file, which may be another one than Look saw
		if n.IsRegular {
			return f, n
		}
		err = fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	f.Close()
	n.Err = err
	return nil, n
}

func (n *Node) describe(si fs.FileInfo) {
	n.Exists = true
	n.IsDir = si.IsDir()
	n.IsRegular = si.Mode().IsRegular()
	n.Waits = si.Mode()&(fs.ModeNamedPipe|fs.ModeDevice) != 0
	n.Mode = si.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	n.Size = si.Size()
	n.Modified = si.ModTime()
	if st, ok := si.Sys().(*syscall.Stat_t); ok {
		n.UID, n.GID = st.Uid, st.Gid
		n.Dev, n.Ino, n.Nlink = uint64(st.Dev), uint64(st.Ino), uint64(st.Nlink)
		n.Changed = changeTime(st)
	}
}

func kindOf(m fs.FileMode) Kind {
	switch {
	case m.IsRegular():
		return File
	case m.IsDir():
		return Directory
	case m&fs.ModeSymlink != 0:
		return Link
	}
	return Other
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
