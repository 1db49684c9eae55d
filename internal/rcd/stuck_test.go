package rcd

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A syslogd that does not read holds up nothing: the lines go to stderr.
func TestStuckSyslog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		log := NewLogger(LogOptions{Level: "info", Target: "syslog", Facility: "mail", Stderr: &out, Sockets: []string{path}})
		for range 2000 {
			log.Info("line")
			if out.Len() > 0 {
				return
			}
		}
	}()
	select {
	case <-done:
		if !strings.Contains(out.String(), "line") {
			t.Error("the socket took all of it, or the line is lost")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the log hangs")
	}
}
