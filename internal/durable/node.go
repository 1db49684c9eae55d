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

// Kind is what a directory entry itself is, without following links.
type Kind int

// The kinds of entry that make a difference to a file set.
const (
	Missing   Kind = iota
	File           // a regular file
	Directory      // a directory
	Link           // a symbolic link, wherever it leads
	Other          // a FIFO, socket or device
	// Unknown is an entry that could not be looked at: Err says why. It is never
	// a missing one.
	Unknown
)

func (k Kind) String() string {
	return [...]string{"missing", "file", "directory", "symbolic link", "special file", "unknown"}[k]
}

// Node is one name on disk as it was seen: what the entry is (lstat(2)) and, where it leads somewhere, what is there
// (stat(2)). It is a value; nothing changes on disk when it changes.
type Node struct {
	Path   string // the name that was looked at
	Kind   Kind   // what the entry itself is
	Target string // Link: the text of the link, else ""
	// Resolved is the absolute path without any link in it, where Located was asked for it; "" when nothing is
	// there or it could not be found out. Err then says why.
	Resolved string

	// What stat(2) says, through links; all zero when Exists is false.
	Exists    bool        // false for a missing entry, for a dangling link, and where Err says why nobody knows
	IsDir     bool        // stat says directory
	IsRegular bool        // stat says regular file
	Waits     bool        // stat says FIFO or device, not /dev/null: who opens or reads it may wait for ever
	Mode      fs.FileMode // permission bits only (07777 in Unix terms: with setuid, setgid, sticky)
	UID, GID  uint32
	Size      int64
	Modified  time.Time // mtime
	Changed   time.Time // ctime
	Dev, Ino  uint64
	Nlink     uint64

	Data []byte // the content, when it was asked for and could be read; nil otherwise
	// Err is why it could not be looked at or read, with the system's error number;
	// nil also for a missing entry (ENOENT; ENOTDIR: what is above it is a file).
	Err error
}

// ErrTooLarge says that a file is larger than the reader was ready to take.
var ErrTooLarge = errors.New("file is too large")

// ErrNotRegular says that a name that should hold content is no regular file.
var ErrNotRegular = errors.New("not a regular file")

// absent says that an error means "nothing is there". Every other one means that
// it is not known what is there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// Unread says that Err is the system's, so that nothing is known of what is
// there: it may be gone at the next look. What is definitely no file to be read
// (a directory, a FIFO, a file that is too large, a link to itself) is not meant.
func (n Node) Unread() bool {
	return n.Err != nil && !errors.Is(n.Err, ErrNotRegular) && !errors.Is(n.Err, ErrTooLarge) &&
		!(n.Kind == Link && errors.Is(n.Err, syscall.ELOOP))
}

// SameContent says that o describes the same file, and that nobody has written it
// in between, as far as inode, size and time of writing tell. A mode may be another.
func (n Node) SameContent(o Node) bool {
	return n.Kind == o.Kind && n.Exists == o.Exists && n.Dev == o.Dev && n.Ino == o.Ino && n.Size == o.Size &&
		n.Modified.Equal(o.Modified)
}

// Look describes path without reading it. Where it leads to is found out by Located alone, because that takes one
// system call for each directory above it.
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

// Located is the Node with Resolved, asked of the disk now and never remembered: a directory above it may have become
// a link since.
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

// Read describes path and reads at most limit bytes of it, through links. It
// never blocks on a FIFO and never reads a device: Err is then ErrNotRegular.
// A larger file gives ErrTooLarge and no Data. A file that goes while it is
// looked at is missing.
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
	if n.Size > limit { // it may be huge: not a byte of it is needed
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

// renamedTries is how often a file is opened that was seen and is missing when it is opened.
const renamedTries = 10

// openRegular opens a regular file, and describes what was opened. nil: the Node says why not.
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
		n.describe(si) // what is read is what is described
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
