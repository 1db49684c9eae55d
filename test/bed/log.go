package bed

import (
	"bytes"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Log is everything that the host's programs have sent to syslog so far.
func (h *Host) Log() string { return h.log.String() }

// LogFrom is the log without its first octets, for a log that has become long.
func (h *Host) LogFrom(octet int) string { return h.log.From(octet) }

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

// listen starts a syslogd that keeps what it gets.
func listen(t testing.TB, path string) *Output {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(path, 0o666)
	t.Cleanup(func() { c.Close() })
	s := &Output{}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			_, _ = s.Write(append(bytes.TrimRight(b[:n], "\n\x00"), '\n'))
		}
	}()
	return s
}
