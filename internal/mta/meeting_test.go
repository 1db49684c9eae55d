package mta

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailcertd/internal/command"
)

// While a program uses the connection, perhaps for minutes, the directory for temporary files contains nothing that
// would be left after a kill.
func TestTunnelLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	near, far := net.Pipe()
	defer far.Close()
	_, err := tunnel(context.Background(), near, func(socket string) (command.Said, error) {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return command.Said{}, err
		}
		defer c.Close()
		go c.Write([]byte("x")) //nolint:errcheck // the other end checks whether it arrived
		if _, err := far.Read(make([]byte, 1)); err != nil {
			return command.Said{}, err
		}
		if left, _ := filepath.Glob(tmp + "/*"); len(left) > 0 {
			t.Errorf("while the connection is used there is %s", left)
		}
		return command.Said{}, nil
	})
	if left, _ := filepath.Glob(tmp + "/*"); err != nil || len(left) > 0 {
		t.Errorf("%v, %s", err, left)
	}
}

// What was left when mailcertd was killed before the program connected is removed by the next connection. Files of
// others in that directory stay.
func TestMeetingsOfTheDead(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	at := func(name string) string { return filepath.Join(tmp, name) }
	for name, mode := range map[string]os.FileMode{"mailcertd-dead": 0o700, "mailcertd-empty": 0o700,
		"mailcertd-open": 0o755, "mailcertd-file": 0o700, "other": 0o700} {
		if err := os.Mkdir(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at("mailcertd-dead/s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, name := range []string{"mailcertd-file/s", "mailcertd-plain"} {
		if err := os.WriteFile(at(name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := newMeeting() // all of these are too young to be removed
	if err != nil {
		t.Fatal(err)
	}
	m.close()
	if left, _ := filepath.Glob(tmp + "/*"); len(left) != 6 {
		t.Errorf("there are %s", left)
	}
	clearMeetings(tmp, time.Now().Add(time.Hour))
	if left, _ := filepath.Glob(tmp + "/*"); len(left) != 4 {
		t.Errorf("there are %s", left)
	}
	for _, name := range []string{"mailcertd-dead", "mailcertd-empty"} {
		if _, err := os.Lstat(at(name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
