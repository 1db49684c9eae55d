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

// A meeting is the socket at which a program that was started finds us, in a folder of its own that nobody else can
// enter. Its path is short, and so it is in TMPDIR or /tmp and not in the state directory.
type meeting struct {
	net.Listener
	dir  string
	once sync.Once
}

const (
	meetingPrefix = "mailcertd-"
	socketName    = "s"
	// meetingOver is the age in which a folder that is still there was left by a
	// kill: it goes as soon as the program has come, which takes no second.
	meetingOver = 10 * time.Minute
	// mostSocket is how long the name of a socket may be, in bytes (sun_path, unix(4),
	// the smallest of the systems here).
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

// close ends the listening and removes the folder. It may be called again.
func (m *meeting) close() {
	m.once.Do(func() {
		_ = m.Listener.Close() // removes the socket
		_ = os.Remove(m.dir)
	})
}

// clearMeetings removes what a kill has left of earlier ones: folders of this user's
// that hold a socket or nothing, and have not changed since then. Others' stay.
func clearMeetings(tmp string, since time.Time) {
	names, err := durable.Names(tmp, 0)
	if err != nil {
		return // nothing depends on it
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
		_ = syscall.Rmdir(dir) // one with anything else in it stays
	}
}
