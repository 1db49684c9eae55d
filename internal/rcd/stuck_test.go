package rcd

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A syslogd that does not read delays nothing: the lines go to stderr, and only the first of them waits. When syslogd
// reads again it gets the lines again.
func TestStuckSyslog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out bytes.Buffer
	var took time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		log := NewLogger(LogOptions{Level: "info", Target: "syslog", Facility: "mail", Stderr: &out,
			Sockets: []string{path}})
		for range 2000 {
			log.Info("line")
			if out.Len() > 0 {
				break
			}
		}
		begun := time.Now()
		for range 50 {
			log.Info("more")
		}
		took = time.Since(begun)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			b := make([]byte, 4096)
			for {
				n, err := c.Read(b)
				if err != nil || strings.Contains(string(b[:n]), "again") {
					return
				}
			}
		}()
		for {
			log.Info("again")
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	select {
	case <-done:
		if !strings.Contains(out.String(), "line") || strings.Count(out.String(), "more") != 50 {
			t.Error("the socket took all of it, or a line is lost")
		}
		if took > 3*time.Second { // each would wait 0.2 s
			t.Errorf("50 lines took %s", took)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the log hangs")
	}
}
