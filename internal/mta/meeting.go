package mta

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"mailcertd/internal/durable"
)

// A meeting is the socket to which a program that we start connects. It is in a temporary directory of its own with
// mode 0700. The path of a socket must be short, so it is in TMPDIR or /tmp and not in the state directory.
type meeting struct {
	net.Listener
	dir  string
	once sync.Once
}

const (
	meetingPrefix = "mailcertd-"
	socketName    = "s"
	// meetingOver is the age after which a directory that still exists was left by a process that was killed. The
	// program connects within a second, and then the directory is removed.
	meetingOver = 10 * time.Minute
	// mostSocket is how long the path of a socket may be, in octets: sun_path in unix(4), the smallest of the systems
	// that mailcertd runs on.
	mostSocket = 103
)

func newMeeting() (*meeting, error) {
	dir, err := os.MkdirTemp("", meetingPrefix) // 0700
	if err == nil && len(filepath.Join(dir, socketName)) > mostSocket {
		_ = os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", meetingPrefix)
	}
	if err != nil {
		return nil, err
	}
	clearMeetings(filepath.Dir(dir), durable.Look(dir).Changed.Add(-meetingOver))
	m := &meeting{dir: dir}
	if m.Listener, err = net.Listen("unix", m.socket()); err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return m, nil
}

func (m *meeting) socket() string { return filepath.Join(m.dir, socketName) }

// close closes the socket and removes the directory. It may be called more than once.
func (m *meeting) close() {
	m.once.Do(func() {
		_ = m.Listener.Close() // removes the socket
		_ = os.Remove(m.dir)
	})
}

// clearMeetings removes the directories of earlier meetings that a kill has left: those of this user, with mode 0700,
// that contain only a socket or nothing and have not changed after since.
func clearMeetings(tmp string, since time.Time) {
	names, err := durable.Names(tmp, 0)
	if err != nil {
		return // this is only a cleanup
	}
	for _, name := range names {
		if !strings.HasPrefix(name, meetingPrefix) {
			continue
		}
		dir := filepath.Join(tmp, name)
		n := durable.Look(dir)
		if n.Kind != durable.Directory || n.Mode.Perm() != 0o700 || int(n.UID) != os.Geteuid() ||
			n.Changed.After(since) {
			continue
		}
		in, err := durable.NamesNoFollow(dir, 2)
		if err != nil || len(in) > 1 || len(in) == 1 && in[0] != socketName {
			continue
		}
		if s := filepath.Join(dir, socketName); durable.Look(s).Kind == durable.Other {
			_ = os.Remove(s)
		}
		_ = syscall.Rmdir(dir)
	}
}
