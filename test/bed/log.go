package bed

import (
	"bytes"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Log is everything that the host's programs have sent to syslog so far.
func (h *Host) Log() string { return h.log.text() }

// LogFrom is the log without its first octets, for a log that has become long.
func (h *Host) LogFrom(octet int) string {
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	return string(h.log.buf.Bytes()[min(octet, h.log.buf.Len()):])
}

// Complaints are the lines of the log that mention a file or a failure of TLS.
func (h *Host) Complaints() []string {
	var out []string
	for line := range strings.SplitSeq(h.Log(), "\n") {
		if complaint.MatchString(line) {
			out = append(out, line)
		}
	}
	return out
}

var complaint = regexp.MustCompile(`STARTTLS.*(unsafe|error|init=0|failed)`)

// syslog is a syslogd that keeps what it gets. mu guards buf.
type syslog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *syslog) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func listen(t testing.TB, path string) *syslog {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(path, 0o666)
	t.Cleanup(func() { c.Close() })
	s := &syslog{}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.buf.Write(bytes.TrimRight(b[:n], "\n\x00"))
			s.buf.WriteByte('\n')
			s.mu.Unlock()
		}
	}()
	return s
}
