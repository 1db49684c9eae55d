package rcd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mailcertd/internal/text"
)

// LogOptions are the settings of the log.
type LogOptions struct {
	Level    string // trace, debug, info, warn, error
	Target   string // auto, stderr, syslog
	Facility string // of syslog(3)
	Stderr   io.Writer
	Terminal bool     // Stderr is a terminal, so auto means stderr
	Sockets  []string // of syslogd: the first that accepts is used; nil: those of the system
}

// sockets are the sockets of syslogd: of FreeBSD, then of Linux.
var sockets = []string{"/var/run/log", "/var/run/logpriv", "/dev/log"}

// facilities are the codes of RFC 5424 section 6.2.1, with security from FreeBSD.
var facilities = map[string]int{"user": 1, "mail": 2, "daemon": 3, "auth": 4, "cron": 9, "authpriv": 10, "security": 13,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23}

// severities are those of RFC 5424 section 6.2.1.
var severities = map[hclog.Level]int{hclog.Trace: 7, hclog.Debug: 7, hclog.Info: 6, hclog.Warn: 4, hclog.Error: 3}

// NewLogger makes the log, with one line of key=value for each decision. With syslog, syslogd adds the time; where
// syslogd cannot be reached, a line goes to Stderr.
func NewLogger(o LogOptions) hclog.Logger {
	opts := &hclog.LoggerOptions{Name: "mailcertd", Level: hclog.LevelFromString(o.Level), Output: o.Stderr}
	if o.Target == "syslog" || o.Target == "auto" && !o.Terminal {
		if o.Sockets == nil {
			o.Sockets = sockets
		}
		opts.Name = "" // it is the tag of each syslog line
		opts.DisableTime = true
		s := &syslogWriter{o: o}
		opts.Output = hclog.NewLeveledWriter(s, map[hclog.Level]io.Writer{
			hclog.Trace: s.at(hclog.Trace), hclog.Debug: s.at(hclog.Debug), hclog.Info: s.at(hclog.Info),
			hclog.Warn: s.at(hclog.Warn), hclog.Error: s.at(hclog.Error)})
	}
	return hclog.New(opts)
}

// syslogWriter sends each line as one datagram. It connects again after syslogd was restarted. mu protects conn, told
// and slow, because hclog may write from several goroutines.
type syslogWriter struct {
	o    LogOptions
	mu   sync.Mutex
	conn net.Conn
	told bool // Stderr was told that syslogd cannot be reached
	slow bool // syslogd did not read the last line in time
}

func (s *syslogWriter) Write(p []byte) (int, error) { return s.at(hclog.Info).Write(p) }

func (s *syslogWriter) at(l hclog.Level) io.Writer { return leveled{s, severities[l]} }

type leveled struct {
	s        *syslogWriter
	severity int
}

func (l leveled) Write(p []byte) (int, error) {
	l.s.send(l.severity, p)
	return len(p), nil
}

// writePatience is how long a line waits for syslogd before it goes to Stderr instead. While syslogd does not read,
// each following line waits only stuckPatience.
const (
	writePatience = 200 * time.Millisecond
	stuckPatience = time.Millisecond
)

// maxLine bounds a syslog line, in octets: RFC 5424 says that receivers should accept 2048.
const maxLine = 2048

func (s *syslogWriter) send(severity int, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := strings.TrimRight(string(p), "\n")
	if _, rest, ok := strings.Cut(said, "] "); ok && strings.HasPrefix(said, "[") {
		said = strings.TrimSpace(rest) // drops hclog's [INFO], which the priority repeats
	}
	said = text.Escaped(said)
	line := fmt.Appendf(nil, "<%d>mailcertd[%d]: %s", facilities[s.o.Facility]<<3|severity, os.Getpid(), said)
	if len(line) > maxLine {
		line = append(line[:maxLine-3], "..."...)
	}
	for range 2 {
		if s.conn == nil && !s.dial() {
			break
		}
		patience := writePatience
		if s.slow {
			patience = stuckPatience
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(patience)) // a syslogd that does not read must not block the daemon
		_, err := s.conn.Write(line)
		if s.slow = errors.Is(err, os.ErrDeadlineExceeded); s.slow {
			break // syslogd runs but does not read: another try would wait as long
		} else if err == nil {
			s.told = false
			return
		}
		s.conn.Close() // syslogd was restarted
		s.conn = nil
	}
	if !s.told {
		s.told = true
		fmt.Fprintln(s.o.Stderr, "mailcertd: cannot connect to syslogd, so the log is written here")
	}
	fmt.Fprintf(s.o.Stderr, "mailcertd: %s\n", said)
}

func (s *syslogWriter) dial() bool {
	for _, path := range s.o.Sockets {
		if c, err := net.Dial("unixgram", path); err == nil {
			s.conn = c
			return true
		}
	}
	return false
}
